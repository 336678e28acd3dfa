"""Folders that a solver writes to be handed on, and what is read from them again.

A model whose weights are its own becomes a Hugging Face folder. Of SoftCoT the frozen weights stay where they are, so
its folder holds what was trained beside them, and all that is needed to ask both models in the same way:

    lcot.json                     what the run's checkpoint says about itself, its paths relative to the folder; hashes
    feed.safetensors              what a feed trained, such as CODI's projection
    softcot.safetensors           projection, placeholders, and rows of tokens, by their names in the module
    llm_adapter/                  LoRA of the language model, as peft writes and reads it
    assistant_adapter/            LoRA of the assistant
    tokenizer.json, …             the language model's tokenizer
    assistant_tokenizer/          the assistant's, where it has one of its own
    prompt.yaml                   how both are asked, with all that its file extends
    assistant_prompt.yaml         how the assistant is, where that is another file

Prompts and the assistant's tokenizer are also beside any other model that is asked by them.
"""

from __future__ import annotations

import copy
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lcot.errors import CheckpointError, UserError
from lcot.modules.coconut import Coconut
from lcot.modules.description import COCONUT, FORMAT, INFERENCE, check_described
from lcot.modules.frozen import FrozenWeights
from lcot.modules.intact import DESCRIPTION, HASHES, check_exported, file_hashes, flaw, readable_as, save_weights
from lcot.modules.lora import ADAPTER, merged
from lcot.modules.parts import described_part
from lcot.modules.softcot import SoftCoT
from lcot.reasoning.dialogue import DialogueBuilder
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.prompts import Prompt, as_file

TRAINED = "softcot.safetensors"
FEED = "feed.safetensors"
_ADAPTERS = {"model": "llm_adapter", "assistant_model": "assistant_adapter"}
# What peft calls the models that its adapters belong to, and how they end in their files.
_PEFT, _WEIGHTS = "base_model.model.", "adapter_model.safetensors"


def write_coconut(module: Coconut, builder: LayoutBuilder, shape: Mapping[str, Any], folder: Path) -> None:
    """Write a Hugging Face folder, whatever LoRA trained added into the weights.

    Args:
        module: With its language model.
        builder: Lays questions out.
        shape: What its thoughts are: kind, markers, number, passes.
        folder: Where to.

    Raises:
        UserError: If it has a classifier, or ``AutoTokenizer`` would read texts in another way.
    """
    if module.halt is not None:
        raise UserError(
            "this run ends its thoughts with a classifier",
            why="a Hugging Face folder has no place for its weights",
            fix="keep the checkpoint, or train with model.halting null",
        )
    assert module.model is not None and module.tokenizer is not None
    _check_auto_tokenizer(module.model, module.tokenizer)
    with merged(module.model):
        module.model.save_pretrained(folder)
    readable_as(folder / "config.json", folder.glob("*.safetensors"))
    module.tokenizer.save_pretrained(folder)
    if module.feed is not None and module.feed.state_dict():
        save_weights({name: value.detach().cpu() for name, value in module.feed.state_dict().items()}, folder / FEED)
    described = {
        "format": FORMAT,
        **shape,
        "recycle": module.recycle,
        "thinker": described_part(module.thinker),
        "feed": described_part(module.feed),
        "unmasked": asdict(module.unmasked) if module.unmasked is not None else None,
        "text": asdict(module.text),
        "extractors": list(module.extractors),
        "max_new_tokens": module.max_new_tokens,
        "sampling": asdict(module.sampling),
        "dialogue": _write_dialogue(builder, folder),
    }
    _describe(folder, described)


def write_softcot(module: SoftCoT, builder: LayoutBuilder, shape: Mapping[str, Any], folder: Path) -> None:
    """Write what was trained beside frozen weights, and how both models are asked.

    Args:
        module: With its models.
        builder: Lays questions out.
        shape: What its thoughts are: kind, markers, number, passes.
        folder: Where to.
    """
    assert module.model is not None and module.tokenizer is not None
    folder.mkdir(parents=True, exist_ok=True)
    module.tokenizer.save_pretrained(folder)
    state = module.state_dict()
    trained = {name: state[name].detach().cpu().clone() for name in module.trained_names()}
    for part, place in _ADAPTERS.items():
        thin = {name: trained.pop(name) for name in list(trained) if name.startswith(f"{part}.") and ".lora_" in name}
        if thin:
            _write_adapter(getattr(module, part), thin, module.frozen[part], part, folder / place)
    save_weights(trained, folder / TRAINED)
    own = {"stage": module.trained_stage or 0, "dialogue": _write_dialogue(builder, folder)}
    _describe(folder, {**module.describe(), **shape, **own})


def read_description(folder: Path) -> dict[str, Any]:
    """What ``lcot.json`` of a folder says, with the places of prompts and tokenizers as they are now.

    Raises:
        CheckpointError: If it is damaged, or of a newer version.
    """
    file = folder / DESCRIPTION
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as err:
        raise CheckpointError(
            f"{str(file)!r} is not valid JSON", why=str(err), fix="export the model again, with save_pretrained"
        ) from err
    soft = isinstance(described, dict) and described.get("module") == SoftCoT.__name__
    check_described(described, str(file), None if soft else (*INFERENCE, *COCONUT))
    assert isinstance(described, dict)
    dialogue = described["dialogue"] or {}
    for name in ("prompt", "assistant", "assistant_prompt"):
        if dialogue.get(name) is not None:
            dialogue[name] = str(folder / dialogue[name])
    return described


def read_softcot(folder: Path, described: dict[str, Any]) -> dict[str, Any]:
    """A folder of SoftCoT as the checkpoint that it was made of.

    Args:
        folder: What :func:`write_softcot` wrote.
        described: What its description says.

    Raises:
        CheckpointError: If a file is missing, damaged, or another one than was written.
    """
    check_exported(folder)
    state = load_tensors(folder / TRAINED)
    for part, tuned in (("model", described["lora"]), ("assistant_model", (described["assistant"] or {}).get("lora"))):
        if tuned is not None:
            adapter = load_tensors(folder / _ADAPTERS[part] / _WEIGHTS)
            state |= {_own_name(name, part): weight for name, weight in adapter.items()}
    return {"lcot": described, "state_dict": state}


def _describe(folder: Path, described: Mapping[str, Any]) -> None:
    whole = {**described, HASHES: file_hashes(folder)}
    (folder / DESCRIPTION).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def _write_dialogue(builder: LayoutBuilder, folder: Path) -> dict[str, Any] | None:
    """Write how models are asked; gives the dialogue with the names of what was written."""
    if not isinstance(builder, DialogueBuilder):
        return None
    own, places = builder.dialogue, {"prompt": "prompt.yaml", "assistant": None, "assistant_prompt": None}
    _write_prompt(builder.model.prompt, folder / "prompt.yaml")
    if builder.assistant is not None and own.assistant is not None:
        places["assistant"] = "assistant_tokenizer"
        builder.assistant.tokenizer.save_pretrained(folder / "assistant_tokenizer")
    if builder.assistant is not None and own.assistant_prompt is not None:
        places["assistant_prompt"] = "assistant_prompt.yaml"
        _write_prompt(builder.assistant.prompt, folder / "assistant_prompt.yaml")
    return {**asdict(own), **places}


def _write_prompt(prompt: Prompt, file: Path) -> None:
    file.write_text(yaml.safe_dump(as_file(prompt), allow_unicode=True, sort_keys=False, width=120), encoding="utf-8")


def _write_adapter(model: Any, trained: dict[str, Tensor], source: FrozenWeights, part: str, folder: Path) -> None:
    config = copy.copy(model.peft_config[ADAPTER])
    config.base_model_name_or_path, config.revision = source.path, source.revision
    config.task_type, config.inference_mode = "CAUSAL_LM", True
    config.save_pretrained(folder)
    weights = {_PEFT + name.removeprefix(f"{part}.").replace(f".{ADAPTER}.", "."): trained[name] for name in trained}
    save_weights(weights, folder / _WEIGHTS, metadata={"format": "pt"})


def _own_name(name: str, part: str) -> str:
    """The name in the module's state dict of a weight of an adapter's file."""
    layer, _, weight = name.removeprefix(_PEFT).rpartition(".")
    return f"{part}.{layer}.{ADAPTER}.{weight}"


def load_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a file.

    Raises:
        CheckpointError: If it is damaged, or not there.
    """
    found = flaw(file)
    if found is not None:
        raise CheckpointError(f"{str(file)!r} cannot be read", why=found[0], fix="copy or export the model again")
    return load_file(file)


def _check_auto_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make sure that ``AutoTokenizer`` finds this tokenizer beside this model.

    For some types of model it puts that type's own way of splitting words over the saved one, whatever class the
    files declare.

    Raises:
        UserError: If it would.
    """
    spread = range(0, len(tokenizer), max(1, len(tokenizer) // 1000))
    texts = ["Tom is a cat.\nIs Tom a cat or a dog? 12 + 3 = 15\n### a dog", str(tokenizer.decode(list(spread)))]
    with tempfile.TemporaryDirectory() as folder:
        model.config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if any(found(text)["input_ids"] != tokenizer(text)["input_ids"] for text in texts):
        kind = model.config.model_type
        raise UserError(
            f"AutoTokenizer would read texts in another way beside a {kind} model",
            why=f"for this type it takes {type(found).__name__}, whatever the folder says, and every answer would be"
            " noise",
            fix="keep the run, which lcot.load reads, or train a llama or qwen3 model",
        )
