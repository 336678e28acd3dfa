"""A trained run from Python: load it, ask it, hand it on.

import lcot

solver = lcot.load("runs/prosqa")
solver.solve(["…"])[0].answer
solver.save_pretrained("my-model")
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lcot.datamodules.tokenizers import load_tokenizer
from lcot.errors import CheckpointError, UserError
from lcot.metrics import extractor
from lcot.modules.backbone import Backbone, context_length, described_backbone, rebuild
from lcot.modules.coconut import Coconut, Halting
from lcot.modules.description import FORMAT, check_format
from lcot.modules.lora import merged
from lcot.modules.stored import pick_checkpoint, read_checkpoint
from lcot.reasoning.batch import collate
from lcot.reasoning.curriculum import Markers, ThoughtKind
from lcot.reasoning.decode import Sampling
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import Layout, LayoutBuilder, TextFormat
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens

_FIRST_EXTRACTORS = ("string",)  # what checkpoints mean that were written before an extractor could be chosen


@dataclass(frozen=True, slots=True)
class Solution:
    """One answered question.

    Attributes:
        question: As it was asked.
        answer: What the run's extractor reads: with ``string``, what stands behind the answer marker. ``None`` if the
            model wrote no answer.
        text: All that the model wrote.
        thoughts: Number of thoughts (or pauses) before the text.
        tokens: Number of written tokens, without eos.
    """

    question: str
    answer: str | None
    text: str
    thoughts: int
    tokens: int


class Solver:
    """A trained model with its tokenizer and its number of thoughts; made by :func:`load`.

    Args:
        module: The trained module, with its language model.
        kind: What its thoughts are.
        markers: Where the markers stand.
        thoughts: How many of them it thinks.
        stepwise_passes: Whether each has a pass of its own; ``None`` if continuous ones have and pauses have not.
    """

    def __init__(
        self,
        module: Coconut,
        kind: ThoughtKind,
        thoughts: int,
        markers: Markers = "always",
        stepwise_passes: bool | None = None,
    ) -> None:
        assert module.model is not None and module.tokenizer is not None and module.special is not None
        self.module = module.eval()
        self.tokenizer: PreTrainedTokenizerBase = module.tokenizer
        self.special: SpecialTokens = module.special
        self.kind = kind
        self.markers = markers
        self.thoughts = thoughts
        self.builder = LayoutBuilder(
            self.tokenizer, self.special, kind, module.text, markers=markers, stepwise_passes=stepwise_passes
        )

    def solve(self, questions: Sequence[str], batch_size: int = 32, thoughts: int | None = None) -> list[Solution]:
        """Answer questions.

        Args:
            questions: Texts in the form of the training data.
            batch_size: Questions that are answered at once; it changes speed, not answers.
            thoughts: Number of thoughts (or pauses) before the text; the run's own if not given. A model that was not
                trained with this number answers at once or writes nonsense; stages that are mixed see several.

        Returns:
            One solution a question, in their order.

        Raises:
            UserError: If a question is no text, blank, or too long for the model, or the number of thoughts cannot be.
        """
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}", fix="use 1 or more")
        count = self.thoughts if thoughts is None else thoughts
        if count < 0 or (count and self.kind == "none") or (thoughts is not None and self.module.halt is not None):
            raise UserError(
                f"thoughts is {thoughts}, and this run's thoughts are of kind {self.kind!r}",
                why="a classifier ends its thoughts" if self.module.halt is not None else None,
                fix="leave it out, or use 0 or more with a run that has thoughts",
            )
        if isinstance(questions, str):
            raise UserError("solve() got one string", fix="give a list of questions: solve([question])")
        for place, question in enumerate(questions):
            if not isinstance(question, str) or not question.strip():
                raise UserError(f"question {place} is {question!r}", fix="give a text")
        solutions: dict[int, Solution] = {}
        # Neighbours of similar length waste least padding; the answers go back to their places.
        order = sorted(range(len(questions)), key=lambda place: len(questions[place]))
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            for place, solution in zip(places, self._solve([questions[p] for p in places], places, count), strict=True):
                solutions[place] = solution
        return [solutions[place] for place in range(len(questions))]

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a Hugging Face folder: weights as safetensors, config, tokenizer, and ``lcot.json`` with the thoughts.

        ``AutoModelForCausalLM`` and ``AutoTokenizer`` load it, :func:`load` does too, and it can be the ``path`` of a
        backbone. What LoRA trained is added into the weights, so the folder needs no others. A halting classifier is
        not part of a language model and is refused; so is a tokenizer that ``AutoTokenizer`` would not load as it is,
        such as that of the data's words beside a Qwen 2 model.

        Raises:
            UserError: If the module has a classifier, or ``AutoTokenizer`` would read texts in another way.
        """
        if self.module.halt is not None:
            raise UserError(
                "this run ends its thoughts with a classifier",
                why="a Hugging Face folder has no place for its weights",
                fix="keep the checkpoint, or train with model.halting null",
            )
        folder = Path(folder)
        assert self.module.model is not None
        _check_auto_tokenizer(self.module.model, self.tokenizer)
        with merged(self.module.model):
            self.module.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        described = {
            "format": FORMAT,
            "kind": self.kind,
            "markers": self.markers,
            "thoughts": self.thoughts,
            "stepwise_passes": self.builder.stepwise_passes,
            "recycle": self.module.recycle,
            "text": asdict(self.module.text),
            "extractors": list(self.module.extractors),
            "max_new_tokens": self.module.max_new_tokens,
            "sampling": asdict(self.module.sampling),
        }
        (folder / "lcot.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        return folder

    def _solve(self, questions: Sequence[str], places: Sequence[int], thoughts: int) -> list[Solution]:
        examples = [ReasoningExample(text, (), "", str(place)) for text, place in zip(questions, places, strict=True)]
        layouts = [self.builder.prompt(pieces, thoughts) for pieces in self.builder.encode(examples)]
        self._check_lengths(questions, layouts)
        batch = collate(layouts, self.special.pad).to(self.module.device)
        answers = self.module.answer(batch)
        texts = self.module.decode_texts(answers)
        reader = extractor(self.module.extractors[0])
        return [
            Solution(
                question,
                reader.extract(text, self.module.text.before_answer),
                text,
                int(answers.thoughts[place]),
                len([token for token in answers.tokens[place] if token != self.special.eos]),
            )
            for place, (question, text) in enumerate(zip(questions, texts, strict=True))
        ]

    def _check_lengths(self, questions: Sequence[str], layouts: Sequence[Layout]) -> None:
        assert self.module.model is not None
        limit = context_length(self.module.model)
        for question, layout in zip(questions, layouts, strict=True):
            needed = layout.prompt + self.module.free_thoughts + self.module.max_new_tokens
            if limit is not None and needed > limit:
                raise UserError(
                    f"a question needs {needed} positions, and the model has {limit}",
                    where=question if len(question) <= 60 else f"{question[:57]}…",
                    fix="shorten it",
                )


def load(path: str | Path, device: str = "cpu", checkpoint: str | None = None, backbone: str | None = None) -> Solver:
    """Load a run, one of its checkpoints, or a folder that :meth:`Solver.save_pretrained` wrote.

    Args:
        path: ``runs/<name>``, a ``.ckpt`` file of a run, or an exported folder.
        device: Where to put the model.
        checkpoint: File name within the run's ``checkpoints`` folder; the best one of the last stage if not given, or
            ``last.ckpt`` where none was marked as best.
        backbone: Where the frozen weights of a run with LoRA are, if not where they were in training.

    Raises:
        UserError: If there is no such run, or ``backbone`` is given for one without frozen weights.
        CheckpointError: If the checkpoint is damaged or not of this framework, or its frozen weights are gone or have
            changed.
    """
    path = Path(path)
    if (path / "lcot.json").is_file():
        _check_needed(backbone, False)
        return _load_exported(path, device)
    file = path if path.suffix == ".ckpt" else pick_checkpoint(path, checkpoint)
    saved = read_checkpoint(file)
    entry: dict[str, Any] = saved["lcot"]
    run = file.parent.parent
    if not (run / "tokenizer").is_dir():
        raise CheckpointError(
            f"there is no tokenizer beside the checkpoint {str(file)!r}",
            where=str(run / "tokenizer"),
            fix="load it where its run is, runs/<name>/checkpoints, or copy the run's tokenizer folder too",
        )
    if entry.get("dialogue") is not None:
        raise CheckpointError(
            f"the checkpoint {str(file)!r} was trained on the prompt {entry['dialogue']['prompt']!r}",
            why="load() asks questions without a prompt, which the model would answer as if it were another one",
            fix="use the commands with the run's own config.yaml",
        )
    if entry["module"] != Coconut.__name__:
        raise CheckpointError(
            f"the checkpoint {str(file)!r} holds a {entry['module']}, and load() knows {Coconut.__name__} only",
            fix="use the commands with the run's own config.yaml",
        )
    tokenizer = load_tokenizer(run / "tokenizer")
    frozen = bool(entry.get("frozen"))
    _check_needed(backbone, frozen)
    module = Coconut(
        described_backbone(entry, backbone),
        max_new_tokens=entry["max_new_tokens"],
        sampling=Sampling(**entry.get("sampling", {})),
        halting=Halting(**entry["halting"]) if entry.get("halting") else None,
        recycle=entry.get("recycle", "post_norm"),
    )
    text, extractors = TextFormat(**entry["text"]), entry.get("extractors", _FIRST_EXTRACTORS)
    module.attach(tokenizer, add_thought_tokens(tokenizer), text, extractors)
    if frozen:
        module.build_model(seed=0)
    else:
        module.model = rebuild(entry["backbone"], entry["dtype"], entry["attention"])
    module.configure_model()
    module.on_load_checkpoint(saved)
    module.load_state_dict(saved["state_dict"])
    return Solver(module.to(device), entry["kind"], entry["thoughts"], entry["markers"], entry.get("stepwise_passes"))


def _check_needed(backbone: str | None, frozen: bool) -> None:
    if backbone is not None and not frozen:
        raise UserError(
            f"backbone is {backbone!r}",
            why="the run has no frozen weights: its checkpoints hold all of them, and the setting would be ignored",
            fix="leave it out",
        )


def _load_exported(folder: Path, device: str) -> Solver:
    described = json.loads((folder / "lcot.json").read_text(encoding="utf-8"))
    check_format(described, where=str(folder / "lcot.json"))
    tokenizer = load_tokenizer(folder)
    sampling = Sampling(**described.get("sampling", {}))
    module = Coconut(
        Backbone(path=str(folder)),
        max_new_tokens=described["max_new_tokens"],
        sampling=sampling,
        recycle=described.get("recycle", "post_norm"),
    )
    text, extractors = TextFormat(**described["text"]), described.get("extractors", _FIRST_EXTRACTORS)
    module.attach(tokenizer, add_thought_tokens(tokenizer), text, extractors)
    assert module.special is not None
    module.model = module.backbone.build(tokenizer, module.special, seed=0)
    shape = described["thoughts"], described["markers"], described.get("stepwise_passes")
    return Solver(module.to(device), described["kind"], *shape)


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
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if any(found(text)["input_ids"] != tokenizer(text)["input_ids"] for text in texts):
        kind = model.config.model_type
        raise UserError(
            f"AutoTokenizer would read texts in another way beside a {kind} model",
            why=f"for this type it takes {type(found).__name__}, whatever the folder says, and every answer would be"
            " noise",
            fix="keep the run, which lcot.load reads, or train a llama or qwen3 model",
        )
