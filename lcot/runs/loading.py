"""Modules as a run left them: what was trained from the checkpoint, what was not from where it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from lcot.datamodules.dialogues import Asking
from lcot.errors import CheckpointError
from lcot.modules.assistant import assistants_settings
from lcot.modules.backbone import Backbone, described_backbone, rebuild
from lcot.modules.coconut import Coconut
from lcot.modules.description import CHECKPOINT, COCONUT, SOFTCOT, check_described
from lcot.modules.halting import Halting
from lcot.modules.own import Made, import_own, make_own
from lcot.modules.parts import made_part
from lcot.modules.softcot import Paths, SoftCoT
from lcot.reasoning.curriculum import Fixed, Passes
from lcot.reasoning.decode import Sampling
from lcot.reasoning.dialogue import Dialogue, DialogueBuilder
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens, prompt_tokens
from lcot.reasoning.unmasked import Unmasked
from lcot.runs.exports import FEED, load_tensors


def method_of(entry: Mapping[str, Any], where: str) -> type[Coconut | SoftCoT]:
    """The class of a checkpoint's module; one's own is there, or of an installed package.

    Args:
        entry: What the checkpoint says of itself.
        where: Its file, for messages.

    Raises:
        CheckpointError: If it cannot be imported, or extends neither method.
    """
    if entry["class"] is not None:
        found = import_own(entry["class"])
        for base, besides in ((SoftCoT, SOFTCOT), (Coconut, COCONUT)):
            if issubclass(found, base):
                check_described(entry, where, (*CHECKPOINT, *besides))
                return found
    for known in (Coconut, SoftCoT):
        if entry["module"] == known.__name__ and entry["class"] is None:
            return known
    raise CheckpointError(
        f"the checkpoint {where!r} holds a {entry['module']}, and load() does not know it",
        fix="use fit, test and predict with the run's own config.yaml; load() takes Coconut, SoftCoT and subclasses",
    )


def load_coconut(
    saved: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    backbone: str | None,
    kind: type[Coconut] = Coconut,
    config: Path | None = None,
) -> Coconut:
    """Make the module of a checkpoint of Coconut.

    Args:
        saved: The checkpoint.
        tokenizer: That of the run.
        backbone: Where its frozen weights are, if not where they were in training.
        kind: Its class.
        config: The run's config, for what a class of one's own takes besides.

    Raises:
        UserError: If the prompt is gone.
        CheckpointError: If frozen weights are gone or have changed, or a class of one's own cannot be made.
    """
    entry: dict[str, Any] = saved["lcot"]
    options = {
        "backbone": described_backbone(entry, backbone),
        "max_new_tokens": entry["max_new_tokens"],
        "sampling": Sampling(**entry["sampling"]),
        "halting": _halting(entry["halting"]) if entry.get("halting") else None,
        "recycle": entry["recycle"],
        "thinker": made_part(entry["thinker"], import_own),
        "feed": made_part(entry["feed"], import_own),
        "unmasked": Unmasked(**entry["unmasked"]) if entry.get("unmasked") else None,
    }
    module = _made(kind, Coconut, options, config)
    text, extractors = TextFormat(**entry["text"]), entry["extractors"]
    module.attach(tokenizer, _special(tokenizer, _asking(entry)), text, extractors)
    if entry["frozen"]:
        module.build_model(seed=0)
    else:
        module.model = rebuild(entry["backbone"], entry["dtype"], entry["attention"], saved["state_dict"])
    module.configure_model()
    module.on_load_checkpoint(saved)
    # What objectives trained beside the model is of no use to answers.
    answers = {name: value for name, value in saved["state_dict"].items() if not name.startswith("objectives.")}
    module.load_state_dict(answers)
    return module


def load_exported(folder: Path, described: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> Coconut:
    """Make the module of a Hugging Face folder that was written of one.

    Args:
        folder: The folder.
        described: What its description says.
        tokenizer: That of the folder.

    Raises:
        UserError: If the model or the prompt cannot be read.
    """
    module = Coconut(
        Backbone(path=str(folder)),
        max_new_tokens=described["max_new_tokens"],
        sampling=Sampling(**described["sampling"]),
        recycle=described["recycle"],
        thinker=made_part(described["thinker"], import_own),
        feed=made_part(described["feed"], import_own),
        unmasked=Unmasked(**described["unmasked"]) if described.get("unmasked") else None,
    )
    text, extractors = TextFormat(**described["text"]), described["extractors"]
    module.attach(tokenizer, _special(tokenizer, _asking(described)), text, extractors)
    module.build_model(seed=0)
    module.configure_model()
    if module.feed is not None and module.feed.state_dict():
        module.feed.load_state_dict(load_tensors(folder / FEED))
    return module


def load_softcot(
    saved: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    backbone: str | None,
    assistant: str | None,
    kind: type[SoftCoT] = SoftCoT,
    config: Path | None = None,
) -> SoftCoT:
    """Make the module of a checkpoint of SoftCoT.

    Args:
        saved: The checkpoint.
        tokenizer: That of the run.
        backbone: Where the language model's weights are, if not where they were in training.
        assistant: Where those of the assistant are; its tokenizer, if there is one beside them.
        kind: Its class.
        config: The run's config, for what a class of one's own takes besides.

    Raises:
        UserError: If the prompt or the assistant's tokenizer is gone.
        CheckpointError: If frozen weights are gone or have changed, or a class of one's own cannot be made.
    """
    entry: dict[str, Any] = saved["lcot"]
    with assistants_settings():
        helper = described_backbone(_as_model(entry), assistant) if entry["assistant"] is not None else None
    options = {
        "backbone": described_backbone(entry, backbone),
        "assistant": helper,
        "max_new_tokens": entry["max_new_tokens"],
        "sampling": Sampling(**entry["sampling"]),
        "thoughts": entry["soft_thoughts"],
        "paths": Paths(**entry["paths"]) if entry["paths"] is not None else None,
        "states": None,
    }
    module = _made(kind, SoftCoT, options, config)
    asking = _asking(entry, assistant)
    module.attach(tokenizer, _special(tokenizer, asking), TextFormat(**entry["text"]), entry["extractors"])
    module.build_model(seed=0)
    module.builder = dialogue_builder(entry, tokenizer, assistant)
    if helper is not None:
        if asking is None:
            raise CheckpointError("the checkpoint has an assistant, and no prompt", where="dialogue")
        own = asking.own_tokenizer or tokenizer
        with assistants_settings():
            module.build_assistant(own, asking.assistant_special(own), entry["tasks"], seed=0)
    module.on_load_checkpoint(saved)
    module.load_state_dict(saved["state_dict"])
    return module


def dialogue_builder(
    entry: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, assistant: str | None = None
) -> DialogueBuilder | None:
    """What lays questions out in the words of a checkpoint's prompt.

    Args:
        entry: What the checkpoint says of itself.
        tokenizer: That of the run.
        assistant: Where the assistant's tokenizer is, if not where it was in training.

    Returns:
        ``None`` for a run without a prompt.

    Raises:
        UserError: If the prompt or the assistant's tokenizer is gone.
    """
    asking = _asking(entry, assistant)
    if asking is None:
        return None
    passes: Passes = "multiple" if entry["stepwise_passes"] else "single"
    schedule = Fixed("none", entry["thoughts"], entry["kind"], entry["markers"], passes)
    return asking.builder(tokenizer, _special(tokenizer, asking), schedule, [entry["thoughts"] or 1], None)


def _made(kind: type[Made], base: type[Made], options: dict[str, Any], config: Path | None) -> Made:
    return kind(**options) if kind is base or config is None else make_own(kind, base, options, config)


def _special(tokenizer: PreTrainedTokenizerBase, asking: Asking | None) -> SpecialTokens:
    return prompt_tokens(tokenizer, asking.prompt) if asking is not None else add_thought_tokens(tokenizer)


def _halting(saved: Mapping[str, Any]) -> Halting:
    try:
        return Halting(**saved)
    except (TypeError, ValueError) as err:
        raise CheckpointError("the checkpoint's halting cannot be used", where="model.halting", why=str(err)) from err


def _asking(entry: Mapping[str, Any], assistant: str | None = None) -> Asking | None:
    """Who is asked what; ``None`` for a run without a prompt."""
    if entry["dialogue"] is None:
        return None
    beside = {"assistant": assistant} if assistant and (Path(assistant) / "tokenizer.json").is_file() else {}
    return Asking(Dialogue(**{**entry["dialogue"], **beside}))


def _as_model(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the assistant, as it says it of the language model."""
    return {**entry["assistant"], "frozen": {"model": entry["frozen"]["assistant_model"]}}
