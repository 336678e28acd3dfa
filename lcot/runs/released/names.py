"""Which code base released some tensors, told by their names, and what each part of them is.

base_causallm.…  embedding.weight               Coconut (facebookresearch/coconut), LOTUS (yingfan-bot/lotus)
… and expainable_llm.…                          SIM-CoT over Coconut (InternLM/SIM-CoT; their spelling)
… and ia_decoder.…                              LOTUS with a decoder
codi.…  prj.…                                   CODI (zhenyi4/codi); codi.base_model.model.… with LoRA of peft
… and decoder.…                                 SIM-CoT over CODI
base_model.model.…lora_A.weight                 PCCoT (whyNLP/PCCoT): an adapter of peft, beside its base model
transformer.…  model.…  lm_head.…               a Hugging Face folder: LOTUS, or PCCoT that was merged
student.…  mtp_projection.…                     C-MTP (Varun221/cmtp_research)
llm.…  latent_policy.…                          CoLaR (xiaomi-research/colar)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lcot.errors import UserError
from lcot.modules.objectives.inter_answer import InterAnswer
from lcot.modules.objectives.steps import StepDecoder
from lcot.reasoning.feeds import Add, Identity, Projection
from lcot.reasoning.given import Given
from lcot.reasoning.heads import SpanHead
from lcot.reasoning.parallel import Jacobi, Looped
from lcot.runs.released.files import Files

PEFT = "base_model.model."
"""What peft puts before the names of the model that it was given."""

_PLAIN = ("transformer.", "model.", "lm_head.", "gpt_neox.", "embed_out.")


@dataclass
class Released:
    """Released tensors by what they are part of.

    Attributes:
        source: Whose they are, for messages.
        methods: Names of configs whose methods think as these weights were trained to.
        markers: How ids of special tokens were given out: ``coconut``, ``codi``, ``pccot`` or ``cmtp``.
        model: Of the language model, by transformers' names, with LoRA still apart.
        feed: Of the projection.
        decoder: Of the step decoder.
        left_out: What nothing here has a use for, in words.
    """

    source: str
    methods: tuple[str, ...]
    markers: str
    model: dict[str, Tensor]
    feed: dict[str, Tensor] = field(default_factory=dict)
    decoder: dict[str, Tensor] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    @property
    def adapted(self) -> bool:
        """Whether there are thin matrices beside weights."""
        return any(".lora_A." in name for name in self.model)


def recognised(files: Files) -> Released:
    """Tell tensors apart by their names.

    Raises:
        UserError: If they are of a method that is not read, or of none that is known.
    """
    tensors = files.tensors
    if any(name.startswith("latent_policy.") for name in tensors):
        raise UserError(
            "a released checkpoint of CoLaR",
            where=files.told,
            why="it marks both ends of the thoughts with ###, which are two tokens here: a run of it would never end"
            " its thoughts where the release does",
            fix="Coconut, CODI, PCCoT, SIM-CoT, LOTUS and C-MTP are read; CoLaR is trained with -c colar",
        )
    groups = _grouped(tensors)
    if "base_causallm" in groups:
        return _of_coconut(files, groups)
    if "codi" in groups:
        return _of_codi(files, groups)
    if "mtp_projection" in groups:
        return _of_cmtp(files, groups)
    kind = str(files.beside.get("config.json", {}).get("model_type", ""))
    if any(name.startswith((PEFT, *_PLAIN, "prj.")) for name in tensors):
        bare = {name.removeprefix(PEFT): tensor for name, tensor in tensors.items()}
        feed = {_saved(name.removeprefix("prj.")): one for name, one in bare.items() if name.startswith("prj.")}
        feed = {name: one for name, one in feed.items() if not name.startswith("original_module.")}
        model = {name: one for name, one in bare.items() if not name.startswith("prj.")}
        made = Released("PCCoT", ("pccot",), "pccot", model, feed)
        if not (made.adapted or feed or kind.startswith("pccot") or "pccot_args.json" in files.beside):
            made.source, made.methods, made.markers = "LOTUS (a Hugging Face folder)", ("lotus",), "coconut"
        return made
    raise UserError(
        "no released checkpoint that is known",
        where=files.told,
        why=f"its tensors begin with {', '.join(sorted(groups)[:6])}",
        fix="Coconut and LOTUS begin with base_causallm, CODI with codi, PCCoT's adapters with base_model.model",
    )


def check_method(released: Released, module: Any, files: Files) -> None:
    """Refuse a config of another method than the weights were trained for.

    Args:
        released: The weights.
        module: The config's module.
        files: Where they are from.

    Raises:
        UserError: If it is one.
    """
    thinker, feed = module.thinker, module.feed
    plain = feed is None or isinstance(feed, Identity)
    fitting: dict[str, Callable[[], bool]] = {
        "coconut": lambda: thinker is None and plain and not released.feed,
        "simcot": lambda: thinker is None and plain and not released.feed,
        "lotus": lambda: isinstance(thinker, Looped) and isinstance(feed, Add | Identity),
        "codi": lambda: thinker is None and isinstance(feed, Projection) == bool(released.feed),
        "simcot_codi": lambda: thinker is None and isinstance(feed, Projection) == bool(released.feed),
        "cmtp": lambda: isinstance(thinker, Given) and isinstance(feed, SpanHead),
        "pccot": lambda: isinstance(thinker, Jacobi) and isinstance(feed, Projection) == bool(released.feed),
    }
    if not any(fitting[name]() for name in released.methods):
        parts = {"thinker": thinker, "feed": feed}
        told = " and ".join(f"{name} {'none' if one is None else type(one).__name__}" for name, one in parts.items())
        projected = f"{'with' if released.feed else 'without'} a projection"
        raise UserError(
            "a released checkpoint of another method",
            where=f"{files.told}; model.thinker, model.feed",
            why=f"its tensors are those of {released.source}, {projected}, and the config has {told}",
            fix=f"lay {' or '.join(f'-c {name}' for name in released.methods)} over the config"
            + ("; --model.feed=null for weights without a projection" if not released.feed and not plain else ""),
        )
    wants = decoder_of(module) is not None
    if wants and not released.decoder:
        raise UserError(
            "the config has a step decoder, and the released weights have none",
            where=f"{files.told}; model.objectives",
            why="it would be random numbers",
            fix="leave it out: -c coconut or -c codi answers in the same way",
        )
    if released.decoder and not wants:
        released.left_out.append(f"a step decoder ({len(released.decoder)} tensors), which no answer needs")


def check_told(files: Files, module: Any, thoughts: int) -> None:
    """Refuse settings that files beside the weights contradict.

    Raises:
        UserError: If thoughts or rounds are others.
    """
    rounds = getattr(module.thinker, "rounds", None)
    for file, name, mine, setting in (
        ("pccot_args.json", "num_latent_tokens", thoughts, "curriculum.schedule.thoughts"),
        ("config.json", "num_iterations", rounds, "model.thinker.rounds"),
    ):
        theirs = files.beside.get(file, {}).get(name)
        if type(theirs) is int and mine is not None and theirs != mine:
            raise UserError(
                f"{setting.rpartition('.')[2]} is {mine}, and the released weights were trained with {theirs}",
                where=f"{setting}; {name} in {file}",
                fix=f"--{setting}={theirs}",
            )


def decoder_of(module: Any) -> StepDecoder | None:
    """The second language model of a module's objectives; ``None`` if there is none."""
    for objective in module.objectives.wanted.values():
        if isinstance(objective, StepDecoder):
            return objective
        if isinstance(objective, InterAnswer) and objective.copy is not None:
            return objective.copy
    return None


def check_filled(module: Any, files: Files) -> None:
    """Refuse objectives that train something which no release has.

    Args:
        module: Built.
        files: Where the weights are from.

    Raises:
        UserError: If there are any.
    """
    known = decoder_of(module)
    own = set() if known is None else set(map(id, known.parameters()))
    for name, objective in module.objectives.wanted.items():
        if any(id(parameter) not in own for parameter in objective.parameters()):
            raise UserError(
                f"the objective {name!r} trains weights of its own, and the released ones have none for it",
                where=f"{files.told}; model.objectives.{name}",
                why="they would be random numbers",
                fix=f"--model.objectives.{name}.weight=0: no answer needs it",
            )


def _of_coconut(files: Files, groups: Mapping[str, dict[str, Tensor]]) -> Released:
    known = {"base_causallm", "embedding", "expainable_llm", "ia_decoder", "teacher_model"}
    _check_left_over(files, groups, known)
    decoder = groups.get("expainable_llm", {})
    made = Released("Coconut or LOTUS", ("coconut", "lotus"), "coconut", dict(groups["base_causallm"]), decoder=decoder)
    if decoder:
        made.source, made.methods = "SIM-CoT over Coconut", ("simcot", "coconut")
    if "ia_decoder" in groups:
        made.source, made.methods, own = "LOTUS", ("lotus",), groups["ia_decoder"]
        if all(name.startswith("model.") for name in own):  # a copy of the whole model
            made.decoder = {name.removeprefix("model."): tensor for name, tensor in own.items()}
        else:
            made.left_out.append(f"a small decoder of the intermediate answers ({len(own)} tensors)")
    return made


def _of_codi(files: Files, groups: Mapping[str, dict[str, Tensor]]) -> Released:
    if any(name in groups for name in ("pj_in", "pj_out")):
        raise UserError(
            "the step decoder is of another width or vocabulary than the language model",
            where=f"{files.told}: pj_in.…, pj_out.…",
            why="a step decoder reads the thoughts as they are here",
            fix="take these tensors and those of decoder.… out of the file; no answer needs them",
        )
    _check_left_over(files, groups, {"codi", "prj", "decoder"})
    model = {name.removeprefix(PEFT): tensor for name, tensor in groups["codi"].items()}
    feed = {name.replace("ln.", "4."): tensor for name, tensor in groups.get("prj", {}).items()}
    made = Released("CODI", ("codi",), "codi", model, feed, groups.get("decoder", {}))
    if made.decoder:
        made.source, made.methods = "SIM-CoT over CODI", ("simcot_codi", "codi")
    return made


def _of_cmtp(files: Files, groups: Mapping[str, dict[str, Tensor]]) -> Released:
    _check_left_over(files, groups, {"student", "teacher", "mtp_projection"})
    if "student" not in groups:
        raise UserError(
            "1 part is missing", where=files.told, why="student.…: the language model", fix="give all files"
        )
    model = {name.removeprefix(PEFT): tensor for name, tensor in groups["student"].items()}
    made = Released("C-MTP", ("cmtp",), "cmtp", model, groups["mtp_projection"])
    if "teacher" in groups:
        made.left_out.append(f"the frozen teacher ({len(groups['teacher'])} tensors), which no answer needs")
    return made


def _check_left_over(files: Files, groups: Mapping[str, Mapping[str, Tensor]], known: set[str]) -> None:
    left = [f"{prefix}.{name}" if name else prefix for prefix in sorted(set(groups) - known) for name in groups[prefix]]
    if left:
        raise UserError(
            f"{len(left)} tensors are left over",
            where=files.told,
            why=f"{', '.join(left[:4])}{', …' if len(left) > 4 else ''}: nothing here has a place for them",
            fix="give the file of a method that is read, or take them out of it",
        )


def _saved(name: str) -> str:
    """The name of a projection's tensor: PCCoT numbers its layers without the dropout that CODI begins with."""
    name = name.replace("modules_to_save.default.", "").replace("modules_to_save.", "")
    place, dot, rest = name.partition(".")
    return {"0": "1", "2": "3", "3": "4"}.get(place, place) + dot + rest


def _grouped(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    groups: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        prefix, _, rest = name.partition(".")
        groups.setdefault(prefix, {})[rest] = tensor
    return groups
