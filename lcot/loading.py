"""Modules as a run left them: what was trained from the checkpoint, what was not from where it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from lcot.datamodules.dialogues import Asking
from lcot.modules.assistant import assistants_settings
from lcot.modules.backbone import described_backbone, rebuild
from lcot.modules.coconut import Coconut, Halting
from lcot.modules.softcot import Paths, SoftCoT
from lcot.reasoning.curriculum import Fixed
from lcot.reasoning.decode import Sampling
from lcot.reasoning.dialogue import Dialogue
from lcot.reasoning.layout import TextFormat
from lcot.reasoning.tokens import add_thought_tokens, prompt_tokens

FIRST_EXTRACTORS = ("string",)
"""What checkpoints mean that were written before an extractor could be chosen."""


def load_coconut(saved: dict[str, Any], tokenizer: PreTrainedTokenizerBase, backbone: str | None) -> Coconut:
    """Make the module of a checkpoint of Coconut.

    Args:
        saved: The checkpoint.
        tokenizer: That of the run.
        backbone: Where its frozen weights are, if not where they were in training.

    Raises:
        CheckpointError: If frozen weights are gone or have changed.
    """
    entry: dict[str, Any] = saved["lcot"]
    module = Coconut(
        described_backbone(entry, backbone),
        max_new_tokens=entry["max_new_tokens"],
        sampling=Sampling(**entry.get("sampling", {})),
        halting=Halting(**entry["halting"]) if entry.get("halting") else None,
        recycle=entry.get("recycle", "post_norm"),
    )
    text, extractors = TextFormat(**entry["text"]), entry.get("extractors", FIRST_EXTRACTORS)
    module.attach(tokenizer, add_thought_tokens(tokenizer), text, extractors)
    if entry.get("frozen"):
        module.build_model(seed=0)
    else:
        module.model = rebuild(entry["backbone"], entry["dtype"], entry["attention"])
    module.configure_model()
    module.on_load_checkpoint(saved)
    module.load_state_dict(saved["state_dict"])
    return module


def load_softcot(
    saved: dict[str, Any], tokenizer: PreTrainedTokenizerBase, backbone: str | None, assistant: str | None
) -> SoftCoT:
    """Make the module of a checkpoint of SoftCoT.

    Args:
        saved: The checkpoint.
        tokenizer: That of the run.
        backbone: Where the language model's weights are, if not where they were in training.
        assistant: Where those of the assistant are; its tokenizer, if there is one beside them.

    Raises:
        UserError: If the prompt or the assistant's tokenizer is gone.
        CheckpointError: If frozen weights are gone or have changed.
    """
    entry: dict[str, Any] = saved["lcot"]
    with assistants_settings():
        helper = described_backbone(_as_model(entry), assistant) if entry["assistant"] is not None else None
    module = SoftCoT(
        described_backbone(entry, backbone),
        helper,
        max_new_tokens=entry["max_new_tokens"],
        sampling=Sampling(**entry["sampling"]),
        thoughts=entry["soft_thoughts"],
        paths=Paths(**entry["paths"]) if entry["paths"] is not None else None,
        states=None,
    )
    asking = _asking(entry, assistant)
    special = prompt_tokens(tokenizer, asking.prompt) if asking is not None else add_thought_tokens(tokenizer)
    module.attach(tokenizer, special, TextFormat(**entry["text"]), entry["extractors"])
    module.build_model(seed=0)
    if asking is not None:
        schedule = Fixed("none", entry["thoughts"], entry["kind"], entry["markers"])
        module.builder = asking.builder(tokenizer, special, schedule, [entry["thoughts"] or 1], None)
    if helper is not None:
        assert asking is not None, "an assistant is asked by a prompt"
        own = asking.own_tokenizer or tokenizer
        with assistants_settings():
            module.build_assistant(own, asking.assistant_special(own), entry["tasks"], seed=0)
    module.on_load_checkpoint(saved)
    module.load_state_dict(saved["state_dict"])
    return module


def _asking(entry: Mapping[str, Any], assistant: str | None) -> Asking | None:
    """Who is asked what; ``None`` for a run without a prompt."""
    if entry["dialogue"] is None:
        return None
    beside = {"assistant": assistant} if assistant and (Path(assistant) / "tokenizer.json").is_file() else {}
    return Asking(Dialogue(**{**entry["dialogue"], **beside}))


def _as_model(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the assistant, as it says it of the language model."""
    return {**entry["assistant"], "frozen": {"model": entry["frozen"]["assistant_model"]}}
