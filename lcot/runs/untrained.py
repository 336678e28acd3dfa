"""Models that nothing was trained in: a plain model's folder, and runs whose models are taken as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser
from transformers import PreTrainedTokenizerBase

from lcot.datamodules.base import ReasoningDataModule
from lcot.datamodules.dialogues import Asking
from lcot.errors import CheckpointError, UserError
from lcot.modules.assistant import assistants_settings
from lcot.modules.backbone import Backbone
from lcot.modules.base import ReasoningModule
from lcot.modules.coconut import Coconut
from lcot.modules.own import KNOWN, naming
from lcot.modules.softcot import SoftCoT
from lcot.pretrained.gguf import is_gguf
from lcot.reasoning.curriculum import Curriculum, Fixed
from lcot.reasoning.dialogue import CHAT, Dialogue, DialogueBuilder
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.spans import builder_for
from lcot.reasoning.text import TextFormat
from lcot.reasoning.tokens import add_thought_tokens, prompt_tokens
from lcot.runs.settings import read_config
from lcot.settings import UNTRAINED, only_cached

MAX_NEW_TOKENS = 512
"""The longest text of a plain model."""

_CONFIG = "config.yaml"


def is_released(path: Path) -> bool:
    """Whether a path is a model as others pretrained it: a folder of Hugging Face, or a GGUF file."""
    return is_gguf(path) or ((path / "config.json").is_file() and not (path / "checkpoints").is_dir())


def is_untrained(path: Path) -> bool:
    """Whether a path is the folder of a run whose models were taken as they are (``ckpt_path: none``)."""
    if (path / "checkpoints").is_dir() or not (path / _CONFIG).is_file():
        return False
    return read_config(path / _CONFIG, fix="restore it from a copy").get("ckpt_path") == UNTRAINED


def load_released(
    path: Path, tokenizer: PreTrainedTokenizerBase, prompt: str | None = None
) -> tuple[Coconut, Curriculum, LayoutBuilder]:
    """A plain model that is asked zero-shot.

    Args:
        path: Its folder or file.
        tokenizer: Its tokenizer.
        prompt: The prompt; the one for any question and any family of models if not given.

    Returns:
        The module, what it thinks (nothing), and what lays out its rows.

    Raises:
        UserError: If the model or the prompt cannot be used.
    """
    asking = Asking(Dialogue(prompt or CHAT).of(ReasoningDataModule.task))
    module = Coconut(Backbone(path=str(path)), max_new_tokens=MAX_NEW_TOKENS)
    special = prompt_tokens(tokenizer, asking.prompt)
    module.attach(tokenizer, special, TextFormat(), asking.prompt.extractors or module.extractors)
    module.build_model(seed=0)
    module.configure_model()
    schedule = Fixed("none", 0, "none")
    return module, schedule, asking.builder(tokenizer, special, schedule, [0], None)


def load_untrained(
    run: Path, tokenizer: PreTrainedTokenizerBase
) -> tuple[Coconut | SoftCoT, Curriculum, LayoutBuilder]:
    """The models of a run that trained nothing, made by its config as the command made them.

    Args:
        run: Its folder.
        tokenizer: That of the run.

    Returns:
        The module, what it thinks, and what lays out its rows.

    Raises:
        CheckpointError: If its config names a class of one's own, or cannot be used.
        UserError: If its models or its prompt cannot be.
    """
    settings = read_config(run / _CONFIG, fix="restore it from a copy")
    module, data, schedule = _made(settings, run / _CONFIG)
    dialogue, seed = data.dialogue, int(settings.get("seed_everything") or 0)
    asking = Asking(dialogue) if dialogue is not None else None
    special = add_thought_tokens(tokenizer) if asking is None else prompt_tokens(tokenizer, asking.prompt)
    module.attach(tokenizer, special, data.text, data.extractors)
    helper = module.asked if isinstance(module, SoftCoT) else None
    theirs = (module.backbone.path, helper and helper.path, dialogue and dialogue.assistant)
    with only_cached(name for name in theirs if name):
        module.build_model(seed)
        words = _layouts(module, schedule, asking, seed)
    return module, schedule, words or builder_for(schedule, tokenizer, special, data.text, None)


def _layouts(
    module: Coconut | SoftCoT, schedule: Curriculum, asking: Asking | None, seed: int
) -> DialogueBuilder | None:
    """Make what a module has beside its language model, and what lays out its rows; ``None`` without a prompt."""
    tokenizer, special = module.tokenizer, module.special
    assert tokenizer is not None and special is not None
    counts = [schedule.thoughts_at_inference(schedule.last_stage)]
    words = asking.builder(tokenizer, special, schedule, counts, None) if asking is not None else None
    if isinstance(module, Coconut):
        module.configure_model()
    else:
        module.builder = words
        if module.asked is not None:
            assert asking is not None, "soft thoughts have a prompt"
            own = asking.own_tokenizer or tokenizer
            with assistants_settings():
                module.build_assistant(own, asking.assistant_special(own), asking.dialogue.tasks, seed)
    return words


def _made(settings: Mapping[str, Any], config: Path) -> tuple[Coconut | SoftCoT, ReasoningDataModule, Curriculum]:
    """The objects of a config. Classes of installed packages are made, and no others."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ReasoningModule, "model")
    parser.add_subclass_arguments(ReasoningDataModule, "data")
    parser.add_subclass_arguments(Curriculum, "schedule")
    try:
        wanted = {name: settings[name] for name in ("model", "data")}
        wanted["schedule"] = settings["curriculum"]["schedule"]
        with naming(KNOWN):
            made = parser.instantiate_classes(parser.parse_object(wanted))
    except (ArgumentError, KeyError, TypeError, ValueError) as err:
        raise CheckpointError(
            "the run's models cannot be made as it made them",
            where=str(config),
            why=err.what if isinstance(err, UserError) else str(err).strip().splitlines()[0],
            fix="use its config.yaml as it was; for a class of your own, ask it with lcot predict",
        ) from err
    if not isinstance(made.model, Coconut | SoftCoT):
        raise CheckpointError(f"the run's model is a {type(made.model).__name__}", fix="ask it with lcot predict")
    return made.model, made.data, made.schedule
