"""The language model inside a module: from a Hugging Face name or folder, or from scratch by its configuration."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.activations import ACT2FN
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from lcot.errors import CheckpointError, UserError
from lcot.modules.description import vocabulary_hash
from lcot.modules.frozen import (
    DType,
    FrozenWeights,
    check_frozen,
    check_names,
    fingerprint,
    freeze,
    shapes_told,
    trained_names,
)
from lcot.modules.lora import LoRA, add_lora, merge
from lcot.modules.probe import check_model, check_sizes
from lcot.modules.stored import pick_checkpoint, read_checkpoint, without_best
from lcot.modules.weights import check_sizes_of, check_type, load_pretrained
from lcot.reasoning.keyed import keyed_seed
from lcot.reasoning.tokens import THOUGHT_TOKENS, SpecialTokens, ends_of_text, grow_vocabulary
from lcot.settings import only_cached

_log = logging.getLogger("lcot")

Attention = Literal["sdpa", "eager", "flash_attention_2"]

_UNFIT = (ValueError, RuntimeError, TypeError, ArithmeticError, LookupError, AttributeError)
"""What transformers and torch raise where numbers of a configuration do not fit, or a name in it is unknown."""


@dataclass(frozen=True)
class Backbone:
    """Which decoder thinks. Exactly one of ``path`` and ``config`` is given.

    Attributes:
        path: Hugging Face name or folder of a pretrained causal language model (safetensors), a GGUF file, whose
            numbers are dequantised, or the folder of a run of lcot, whose best checkpoint's weights are then the start,
            as the published GSM8K runs of Coconut start from a CoT run. What a run trained with LoRA is merged into the
            weights that it started from.
        config: A model from scratch: ``model_type`` and any field of that type's configuration. The vocabulary's size
            and the special ids come from the tokenizer.
        dtype: Type of the weights. Keep float32 for weights that are trained and let ``trainer.precision`` choose the
            arithmetic; frozen ones may as well be bfloat16, and what LoRA trains is in float32 in any case.
        new_tokens: How the rows of added tokens start in a pretrained model: ``copy:TOKEN``, ``mean`` or ``random``.
            No effect with ``config``, where all rows are random.
        attention: Implementation of attention in transformers.
        lora: Keep the weights as they are, and train thin matrices beside some of them and the rows of the thought
            tokens. Checkpoints then hold these only, so the weights must stay where they are.
        revision: Branch, tag or commit of a model on the Hub.
    """

    path: str | None = None
    config: dict[str, Any] | None = None
    dtype: DType = "float32"
    new_tokens: str = "mean"
    attention: Attention = "sdpa"
    lora: LoRA | None = None
    revision: str | None = None

    def __post_init__(self) -> None:
        if (self.path is None) == (self.config is None):
            given = "both" if self.path is not None else "neither"
            raise UserError(
                f"{given} of model.backbone.path and model.backbone.config",
                why="a model is either pretrained or made from scratch",
                fix="give path for a pretrained model, or config (with model_type) for a new one; null for the other,"
                " as in --model.backbone='{path: runs/prosqa-cot, config: null}'",
            )
        if self.config is not None and self.lora is not None:
            raise UserError(
                "model.backbone.lora with model.backbone.config",
                why="LoRA keeps the model's weights as they are, and those of a model from scratch are random",
                fix="set model.backbone.path to a pretrained model and model.backbone.config to null, or lora to null",
            )
        if self.revision is not None and (self.path is None or Path(self.path).expanduser().exists()):
            raise UserError(
                f"model.backbone.revision is {self.revision!r}",
                where="model.backbone.revision",
                why="only models on the Hub have revisions, and the setting would be ignored",
                fix="leave it out",
            )

    def check_tokenizer(self, name: str, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make sure that a pretrained model does not get the numbering of words that was made from the data.

        Args:
            name: The setting ``data.tokenizer``.
            tokenizer: The tokenizer that it gave.

        Raises:
            UserError: If it does, or its folder is not there; a folder that holds this very tokenizer (a run of the
                same data, or one exported) may. A run's weights want its own tokenizer, whatever its name.
        """
        run = self.run()
        if run is not None:
            if read_checkpoint(pick_checkpoint(run), weights=False)["lcot"]["vocabulary"] != vocabulary_hash(tokenizer):
                raise UserError(
                    f"the run {self.path!r} has another tokenizer",
                    where="model.backbone.path, data.tokenizer",
                    why="its token ids mean other words, so its weights would be of no use",
                    fix=f"set data.tokenizer to {str(run / 'tokenizer')!r}",
                )
            return
        if self.path is None or name != "words":
            return
        folder = Path(self.path).expanduser()
        # A name with a folder that is there before its slash is hardly one of the Hub.
        near = len(folder.parts) > 1 and folder.parent.is_dir()
        if not folder.exists() and (near or self.path.startswith((".", "/", "~")) or self.path.count("/") > 1):
            others = sorted(other.name for other in folder.parent.glob("*") if other.is_dir())
            raise UserError(
                f"there is no folder {self.path!r} to load a model from",
                where="model.backbone.path",
                why=f"folders there: {', '.join(others[:8])}" if others else None,
                fix="check the path; data.tokenizer is then the same folder",
            )
        file = folder / "tokenizer.json"
        with suppress(Exception):  # a plain Exception is all that a damaged file leads to
            if file.is_file() and Tokenizer.from_file(str(file)).get_vocab() == tokenizer.get_vocab():
                return
        raise UserError(
            f"the pretrained model {self.path!r} would read words that were numbered by the data",
            where="model.backbone.path, data.tokenizer",
            why="data.tokenizer is 'words', and the model knows the ids of its own tokenizer only",
            fix=f"set data.tokenizer to {self.path!r}",
        )

    def build(self, tokenizer: PreTrainedTokenizerBase, special: SpecialTokens, seed: int) -> PreTrainedModel:
        """Make the model, with a row for every token of the tokenizer.

        Args:
            tokenizer: With the thought tokens added.
            special: Their ids, and which of them were added.
            seed: Keys the initial weights; the global generator is left as it was.

        Returns:
            The model in training mode; with LoRA, only what is to be trained has gradients.

        Raises:
            UserError: If the model cannot be had, its configuration has an unknown field or sizes that do not fit, or
                LoRA does not fit it.
            CheckpointError: If it is that of a run whose frozen weights are gone or have changed.
        """
        # Only the CPU's generator draws here, so only that one is put aside. Lightning would have weights made on the
        # device, and the same seed would begin with others on each kind of device.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.manual_seed(keyed_seed("weights", seed))
            if self.config is not None:
                first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else special.eos
                config = self._fresh_config(len(tokenizer), first, special.eos, special.pad)
                model = from_config(config, self.dtype, self.attention)
                check_sizes(model)
            else:
                model = self._pretrained(tokenizer, special)
                # A run's model knows all tokens, also where a tokenizer of the same words was made anew.
                added = special.added if self.run() is None else ()
                new = grow_vocabulary(model, tokenizer, added, self.new_tokens)
                if self.lora is not None:
                    # Thought tokens also where the model has them: an earlier method may never have used them.
                    known = tokenizer.get_vocab()
                    new += [known[token] for token in THOUGHT_TOKENS if token in known]
                    add_lora(model, self.lora, sorted(set(new)))
        check_model(model)
        model.config.pad_token_id = special.pad
        model.config.eos_token_id = ends_of_text(model, tokenizer, special.eos) if self.config is None else special.eos
        model.train()
        return model

    def frozen_weights(self, model: PreTrainedModel) -> FrozenWeights:
        """Where the frozen weights of a model that :meth:`build` made come from, and what they are.

        Args:
            model: As it was built: whatever changes types or values later would be taken for other weights.
        """
        assert self.path is not None, "a model from scratch comes from nowhere"
        folder = Path(self.path).expanduser()
        local = folder.exists()
        # A branch of the Hub may move; the commit that it stood at does not.
        revision = None if local else getattr(model.config, "_commit_hash", None) or self.revision
        return FrozenWeights(str(folder.resolve()) if local else self.path, revision, self.dtype, fingerprint(model))

    def check_config(self) -> None:
        """Make a model from scratch without its weights, before the data are there that say how many tokens it has.

        Raises:
            UserError: If its configuration has an unknown field, or sizes that do not fit.
        """
        if self.config is None:
            return
        config = self._fresh_config(8, 0, 0, 0)
        layers = getattr(config, "num_hidden_layers", 1)
        if layers < 1:
            raise UserError(
                f"the model has {layers} layers",
                where="model.backbone.config",
                fix="set num_hidden_layers to 1 or more",
            )
        with torch.device("meta"):
            from_config(config, self.dtype, self.attention)

    def _fresh_config(self, tokens: int, first: Any, eos: int, pad: int) -> PretrainedConfig:
        fields = dict(self.config or {})
        kind = fields.pop("model_type", None)
        if not isinstance(kind, str) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise UserError.unknown(
                "model_type", str(kind), ["gpt2", "llama", "qwen2", "qwen3", "mistral"], where="model.backbone.config"
            )
        check_type(kind, "model.backbone.config")
        known = AutoConfig.for_model(kind)
        owned = {"vocab_size", "bos_token_id", "eos_token_id", "pad_token_id"} & set(fields)
        if owned:
            raise UserError(
                f"{', '.join(sorted(owned))} in model.backbone.config",
                why="the tokenizer decides it, and the setting would be ignored",
                fix="leave it out",
            )
        for field in fields:
            if field not in known.to_dict() and field not in known.attribute_map:
                raise UserError.unknown(
                    f"field of a {kind} model", field, known.to_dict(), where="model.backbone.config"
                )
        try:
            return AutoConfig.for_model(
                kind,
                vocab_size=tokens,
                bos_token_id=first,
                eos_token_id=eos,
                pad_token_id=pad,
                **fields,
            )
        except (StrictDataclassError, *_UNFIT) as err:
            raise UserError(
                f"no {kind} model can be made from model.backbone.config",
                where="model.backbone.config",
                why=str(err).strip().splitlines()[-1].strip().removeprefix("ValueError: "),
            ) from err

    def run(self) -> Path | None:
        """The folder of the run to start from, if it is one."""
        folder = Path(self.path).expanduser() if self.path is not None else None
        return folder if folder is not None and (folder / "checkpoints").is_dir() else None

    def _pretrained(self, tokenizer: PreTrainedTokenizerBase, special: SpecialTokens) -> PreTrainedModel:
        run = self.run()
        if run is not None:
            return model_of_run(run, tokenizer, special, self.dtype, self.attention)
        return load_pretrained(str(self.path), self.revision, self.dtype, self.attention)


def from_config(config: PretrainedConfig, dtype: str, attention: str) -> PreTrainedModel:
    """A model with random weights.

    Raises:
        UserError: If there is no such activation, or the configuration's numbers do not fit one another.
    """
    for field in ("hidden_act", "activation_function", "hidden_activation"):
        named = getattr(config, field, None)
        if isinstance(named, str) and named not in ACT2FN:
            raise UserError.unknown("activation", named, ACT2FN, where=f"model.backbone.config.{field}")
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=getattr(torch, dtype), attn_implementation=attention
        )
    except (ImportError, *_UNFIT) as err:
        raise UserError(
            f"no {config.model_type} model can be made from model.backbone.config",
            where="model.backbone.config",
            why=f"there is no {err}" if isinstance(err, KeyError) else str(err).strip().splitlines()[0],
        ) from err
    return model


def rebuild(
    config_json: str, dtype: str, attention: str, weights: Mapping[str, Tensor] | None = None
) -> PreTrainedModel:
    """The model of a checkpoint, before its weights are loaded.

    Args:
        config_json: What ``config.to_json_string()`` gave when the checkpoint was written.
        dtype: Type of the weights.
        attention: Implementation of attention.
        weights: Those that are to be loaded: a configuration of a far larger model is refused before it is made.

    Raises:
        CheckpointError: If transformers knows no such type of model, or it cannot be made.
    """
    fields = json.loads(config_json)
    for key in ("transformers_version", "architectures", "dtype", "torch_dtype"):
        fields.pop(key, None)
    kind = fields.pop("model_type", None)
    if not isinstance(kind, str) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise CheckpointError(
            f"the checkpoint is of a model of type {kind!r}",
            why="this version of transformers has no such language model",
            fix="use the versions that the checkpoint's run names in its config or test.json",
        )
    try:
        check_sizes_of(fields, {name: one.shape for name, one in (weights or {}).items()})
        return from_config(AutoConfig.for_model(kind, **fields), dtype, attention)
    except (StrictDataclassError, ValueError, TypeError, ArithmeticError, AttributeError, RuntimeError) as err:
        last = str(err).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"the checkpoint's {kind} model cannot be made",
            why=": ".join(filter(None, (err.what, err.why))) if isinstance(err, UserError) else last,
            fix="use another checkpoint of this run",
        ) from err


def described_backbone(described: Mapping[str, Any], path: str | None = None) -> Backbone:
    """The backbone that a checkpoint was trained on.

    Args:
        described: The ``lcot`` entry of the checkpoint.
        path: Where its frozen weights are now; where they were if not given. No effect if all weights were trained.

    Raises:
        CheckpointError: If its frozen weights came from a folder that is not there.
    """
    frozen = described["frozen"].get("model")
    if frozen is None:
        config = json.loads(described["backbone"])
        return Backbone(config=config, dtype=described["dtype"], attention=described["attention"])
    if path is None and Path(frozen["path"]).is_absolute() and not Path(frozen["path"]).exists():
        raise CheckpointError(
            "the checkpoint's frozen weights are not where they were",
            where=frozen["path"],
            why="a checkpoint holds what was trained, and those were not",
            fix="put them back; or say where they are: model.backbone.path for commands, backbone= for lcot.load",
        )
    return Backbone(
        path=path or frozen["path"],
        dtype=frozen["dtype"],
        attention=described["attention"],
        lora=LoRA(**described["lora"]) if described["lora"] else None,
        revision=frozen["revision"] if path is None else None,
    )


def model_of_run(
    run: Path, tokenizer: PreTrainedTokenizerBase, special: SpecialTokens, dtype: str, attention: Attention
) -> PreTrainedModel:
    """The plain language model that a run of lcot ended with: what it trained is merged into what it kept frozen.

    Args:
        run: Its folder.
        tokenizer: One with the vocabulary of the run's.
        special: Its special tokens.
        dtype: Type of the weights.
        attention: Implementation of attention.

    Raises:
        CheckpointError: If the run's weights are not those of its model, or its frozen ones are gone or have changed.
    """
    saved = read_checkpoint(pick_checkpoint(run))
    if (said := without_best(run)) is not None:
        _log.warning("%s", said)
    described = saved["lcot"]
    # A classifier beside the language model is none of its weights.
    weights = {name.removeprefix("model."): w for name, w in saved["state_dict"].items() if name.startswith("model.")}
    frozen = described["frozen"].get("model")
    if frozen is None:
        model = rebuild(described["backbone"], dtype, attention, weights)
        check_names(weights, list(model.state_dict()))
        with shapes_told():
            model.load_state_dict(weights)
        return model
    backbone = replace(described_backbone(described), attention=attention)
    with only_cached([frozen["path"]]):
        model = backbone.build(tokenizer, special, seed=0)
    if backbone.lora is None:
        freeze(model)
    check_frozen({"model": frozen}, {"model": asdict(backbone.frozen_weights(model))})
    check_names(weights, trained_names(model))
    with shapes_told():
        model.load_state_dict(weights, strict=False)
    merge(model)
    model.to(getattr(torch, dtype))
    return model
