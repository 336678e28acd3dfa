"""A frozen teacher: another model, trained before, reads the written chains in the place of the one that learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lcot.errors import CheckpointError, UserError, renamed
from lcot.modules.backbone import Attention, model_of_run
from lcot.modules.description import vocabulary_hash
from lcot.modules.frozen import DType, FrozenWeights, fingerprint, freeze
from lcot.modules.limits import context_length
from lcot.modules.objectives.base import Objective, TeacherText
from lcot.modules.objectives.keys_values import KeyValueDistillation
from lcot.modules.stored import pick_checkpoint, read_checkpoint
from lcot.modules.weights import cached, load_pretrained
from lcot.pretrained.gguf import folder_of, is_gguf
from lcot.reasoning.feeds import embedding_table
from lcot.reasoning.tokens import THOUGHT_TOKENS, SpecialTokens

_SETTINGS = {"model.backbone": "model.teacher", ", or backbone= of lcot.load": ""}
_SIZES = ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim")


@dataclass(frozen=True)
class Teacher:
    """Which model teaches. It is never trained, and no checkpoint or export holds it; answers do not need it.

    Attributes:
        path: The folder of a run of lcot, whose best checkpoint's weights teach, or the folder or Hugging Face name of
            a pretrained model (safetensors), or a GGUF file. Its vocabulary is that of the model that learns; tokens of
            thoughts do not count, for a teacher reads none.
        dtype: Type of its weights.
        attention: Implementation of attention in transformers.
        revision: Branch, tag or commit of a model on the Hub.
    """

    path: str
    dtype: DType = "float32"
    attention: Attention = "sdpa"
    revision: str | None = None

    def __post_init__(self) -> None:
        if not self.path.strip():
            raise UserError(
                "the teacher has no path",
                where="model.teacher.path",
                fix="give the folder of a run or of a model; or set model.teacher to null",
            )
        if self.revision is not None and self._folder.exists():
            raise UserError(
                f"model.teacher.revision is {self.revision!r}",
                where="model.teacher.revision",
                why="only models on the Hub have revisions, and the setting would be ignored",
                fix="leave it out",
            )

    @property
    def _folder(self) -> Path:
        return Path(self.path).expanduser()

    @property
    def _run(self) -> bool:
        return (self._folder / "checkpoints").is_dir()

    def load(self, tokenizer: PreTrainedTokenizerBase, special: SpecialTokens, name: str = "") -> LoadedTeacher:
        """Load it, without running any code that comes with it.

        Args:
            tokenizer: That of the model that learns, with the thought tokens.
            special: Their ids.
            name: The setting ``data.tokenizer``.

        Raises:
            UserError: If it cannot be had, or has another vocabulary.
            CheckpointError: If its files are damaged, or weights that a run kept frozen are gone or have changed.
        """
        # What transformers draws before it loads must not move the run's own draws.
        with renamed(_SETTINGS), torch.random.fork_rng(devices=[]), torch.device("cpu"):
            if self._run:
                self._check_run(tokenizer)
                model = model_of_run(self._folder, tokenizer, special, self.dtype, self.attention)
            else:
                self._check_there()
                model = load_pretrained(self.path, self.revision, self.dtype, self.attention)
                self._check_vocabulary(tokenizer, name, model)
        freeze(model)
        local = self._folder.exists()
        place = str(self._folder.resolve()) if local else self.path
        revision = None if local else getattr(model.config, "_commit_hash", None) or self.revision
        return LoadedTeacher(model, FrozenWeights(place, revision, self.dtype, fingerprint(model)))

    def _check_there(self) -> None:
        near = len(self._folder.parts) > 1 and self._folder.parent.is_dir()
        if not self._folder.exists() and (near or self.path.startswith((".", "/", "~")) or self.path.count("/") > 1):
            others = sorted(other.name for other in self._folder.parent.glob("*") if other.is_dir())
            raise UserError(
                f"there is no folder {self.path!r} to load a teacher from",
                where="model.teacher.path",
                why=f"folders there: {', '.join(others[:8])}" if others else None,
                fix="train it first with fit, or check the path",
            )

    def _check_run(self, tokenizer: PreTrainedTokenizerBase) -> None:
        entry = read_checkpoint(pick_checkpoint(self._folder), weights=False)["lcot"]
        if entry["vocabulary"] != vocabulary_hash(tokenizer):
            raise self._other(f"set data.tokenizer to {str(self._folder / 'tokenizer')!r}, or train another teacher")

    def _check_vocabulary(self, tokenizer: PreTrainedTokenizerBase, name: str, model: PreTrainedModel) -> None:
        own = _words(tokenizer.get_vocab())
        folder: Path | None = self._folder
        if is_gguf(self._folder):
            folder = folder_of(self._folder)
        elif not self._folder.is_dir():
            folder = cached(self.path, self.revision, whole=False)
        file = folder / "tokenizer.json" if folder is not None else None
        rows = len(embedding_table(model))
        if file is not None and file.is_file():
            try:
                theirs = _words(Tokenizer.from_file(str(file)).get_vocab())
            except Exception as err:  # a plain Exception is all that a damaged file leads to
                raise UserError(
                    f"the tokenizer of the teacher {self.path!r} cannot be read",
                    where=f"model.teacher.path, {file}",
                    why=str(err).splitlines()[0],
                    fix="download or copy it again",
                ) from err
            if theirs == own and max(own.values()) < rows:
                return
        elif name == self.path and max(own.values()) < rows:
            return
        elif file is None or not file.is_file():
            raise UserError(
                f"the vocabulary of the teacher {self.path!r} is not known",
                where="model.teacher.path",
                why="there is no tokenizer.json beside it, and data.tokenizer is another",
                fix="put its tokenizer.json into its folder, or give the same path as data.tokenizer",
            )
        raise self._other(f"set data.tokenizer to {self.path!r}, or choose another teacher")

    def _other(self, fix: str) -> UserError:
        return UserError(
            f"a teacher of another vocabulary: {self.path!r}",
            where="model.teacher.path, data.tokenizer",
            why="it would read other words than those that are written, and teach what it made of them",
            fix=fix,
        )


@dataclass(slots=True)
class LoadedTeacher:
    """A teacher as it teaches. It is no submodule of what it teaches: nothing trains, saves or exports it.

    Attributes:
        model: Its language model, frozen.
        weights: Where they come from, and what they are.
    """

    model: PreTrainedModel
    weights: FrozenWeights

    def on(self, device: torch.device) -> PreTrainedModel:
        """The model on a device."""
        if self.model.device != device:
            self.model.to(device)  # type: ignore[arg-type]
        return self.model

    def check_like(self, model: PreTrainedModel, objectives: Mapping[str, Objective], special: SpecialTokens) -> None:
        """Refuse a teacher whose states, or keys and values, are not of the shape of those that they are to teach.

        Args:
            model: The model that learns.
            objectives: What it learns, by name.
            special: The ids that mark thoughts.

        Raises:
            UserError: If an objective compares them.
        """
        comparing = [name for name, one in objectives.items() if one.layers or one.keys_values]
        theirs, own = (_sizes(one) for one in (self.model, model))
        differing = [f"{name} {theirs[name]} ≠ {own[name]}" for name in _SIZES if theirs[name] != own[name]]
        if comparing and differing:
            raise UserError(
                f"the teacher is of another shape than the model: {'; '.join(differing)}",
                where=f"model.teacher.path, model.objectives.{comparing[0]}",
                why="layer by layer, what the model holds is compared with what its teacher holds",
                fix="use a teacher of the same shape, or leave the objective out",
            )
        with renamed(_SETTINGS):
            for one in objectives.values():
                if isinstance(one, KeyValueDistillation):
                    one.build(self.model, special)


def teacher_for(module: Any, teacher: Teacher) -> LoadedTeacher | None:
    """A module's teacher; nothing but training asks one.

    Args:
        module: With its language model, its tokenizer and its objectives.
        teacher: Which one.

    Returns:
        ``None`` where a trainer does not train.

    Raises:
        UserError: As :meth:`Teacher.load` does; or if it does not fit the model.
        DataError: If a row is too long for it.
    """
    if not _trains(module):
        return None
    data: Any = getattr(module._trainer, "datamodule", None)
    loaded = teacher.load(module.tokenizer, module.special, getattr(data, "tokenizer_name", ""))
    loaded.check_like(module.model, module.objectives.wanted, module.special)
    limit, own = context_length(loaded.model), context_length(module.model)
    if data is not None and limit is not None and (own is None or limit < own):
        with renamed({"the model has": "the teacher has", **_SETTINGS}):
            data.check_context(limit, 0)
    return loaded


def _trains(module: Any) -> bool:
    return module._trainer is None or module.trainer.state.fn == "fit"


def check_teaching(teacher: Teacher | None, objectives: Mapping[str, Objective]) -> None:
    """Refuse a teacher that teaches nothing, or is to learn.

    Raises:
        UserError: If it is one.
    """
    if teacher is None:
        return
    learning = [name for name, one in objectives.items() if isinstance(one, TeacherText)]
    if learning:
        raise UserError(
            f"the objective {learning[0]!r} has the teacher learn its text, and the teacher is frozen",
            where=f"model.objectives.{learning[0]}, model.teacher",
            why="it would train nothing",
            fix="set its weight to 0 or leave it out; or leave model.teacher out, and the model teaches itself",
        )
    if not any("teacher" in one.views for one in objectives.values()):
        raise UserError(
            f"there is a teacher, {teacher.path!r}, and no objective learns from one",
            where="model.teacher, model.objectives",
            why="it would have no effect",
            fix="add a Distillation or a KeyValueDistillation, or leave the teacher out",
        )


def check_same_teacher(module: Any, saved: Mapping[str, Any] | None) -> None:
    """Make sure that a training goes on with the teacher that it began with.

    Args:
        module: With its teacher, if it has one.
        saved: What the checkpoint says of it, by the fields of :class:`~lcot.modules.frozen.FrozenWeights`.

    Raises:
        CheckpointError: If it is another one.
    """
    if module._trainer is None or not _trains(module):
        return
    mine = asdict(module.taught_by.weights) if module.taught_by is not None else None
    then, now = (one["fingerprint"] if one is not None else None for one in (saved, mine))
    if then != now:
        places = [repr(one["path"]) if one is not None else "the model itself" for one in (saved, mine)]
        raise CheckpointError(
            "the teacher is another one than that of the training",
            where=f"model.teacher: {places[0]} then, {places[1]} now",
            why=None if places[0] != places[1] else "its weights have changed since",
            fix="give the teacher that the run was trained with, or train anew",
        )


def _words(vocabulary: Mapping[str, int]) -> dict[str, int]:
    """A vocabulary without the tokens of thoughts."""
    return {word: place for word, place in vocabulary.items() if word not in THOUGHT_TOKENS}


def _sizes(model: PreTrainedModel) -> dict[str, Any]:
    config: Any = model.config
    found = {name: getattr(config, name, None) for name in _SIZES}
    found["num_key_value_heads"] = found["num_key_value_heads"] or found["num_attention_heads"]
    found["head_dim"] = found["head_dim"] or config.hidden_size // config.num_attention_heads
    return found
