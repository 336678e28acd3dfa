"""A trained run from Python: load it, ask it, hand it on.

import lcot

solver = lcot.load("runs/prosqa")
solver.solve(["…"])[0].answer
solver.save_pretrained("my-model")
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from lcot.datamodules.tokenizers import load_tokenizer
from lcot.errors import CheckpointError, UserError
from lcot.loading import FIRST_EXTRACTORS, load_coconut, load_softcot
from lcot.metrics import extractor
from lcot.modules.backbone import Backbone, context_length
from lcot.modules.coconut import Coconut
from lcot.modules.description import FORMAT, check_format
from lcot.modules.lora import merged
from lcot.modules.softcot import SoftCoT
from lcot.modules.stored import pick_checkpoint, read_checkpoint
from lcot.modules.voting import ballots
from lcot.reasoning.batch import collate
from lcot.reasoning.curriculum import Markers, ThoughtKind
from lcot.reasoning.decode import Sampling
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import Layout, LayoutBuilder, TextFormat
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens


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
        builder: Lays out questions; ``None`` for one that joins them by the module's own text format.
    """

    def __init__(
        self,
        module: Coconut | SoftCoT,
        kind: ThoughtKind,
        thoughts: int,
        markers: Markers = "always",
        stepwise_passes: bool | None = None,
        builder: LayoutBuilder | None = None,
    ) -> None:
        assert module.model is not None and module.tokenizer is not None and module.special is not None
        self.module = module.eval()
        self.tokenizer: PreTrainedTokenizerBase = module.tokenizer
        self.special: SpecialTokens = module.special
        self.kind = kind
        self.markers = markers
        self.thoughts = thoughts
        self.builder = builder or LayoutBuilder(
            self.tokenizer, self.special, kind, module.text, markers=markers, stepwise_passes=stepwise_passes
        )

    def solve(
        self,
        questions: Sequence[str],
        batch_size: int = 32,
        thoughts: int | None = None,
        task: str | None = None,
    ) -> list[Solution]:
        """Answer questions.

        Args:
            questions: Texts in the form of the training data.
            batch_size: Questions that are answered at once; it changes speed, not answers.
            thoughts: Number of thoughts (or pauses) before the text; the run's own if not given. A model that was not
                trained with this number answers at once or writes nonsense; stages that are mixed see several.
            task: Which of its tasks the questions are of, for a run of SoftCoT with a projection for each.

        Returns:
            One solution a question, in their order.

        Raises:
            UserError: If a question is no text, blank, or too long for the model, the number of thoughts cannot be, or
                the run has no such task.
        """
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}", fix="use 1 or more")
        count, halts = self.thoughts if thoughts is None else thoughts, getattr(self.module, "halt", None) is not None
        if count < 0 or (count and self.kind == "none") or (thoughts is not None and halts):
            raise UserError(
                f"thoughts is {thoughts}, and this run's thoughts are of kind {self.kind!r}",
                why="a classifier ends its thoughts" if halts else None,
                fix="leave it out, or use 0 or more with a run that has thoughts",
            )
        tasks = self.module.projection.tasks if isinstance(self.module, SoftCoT) and self.module.projection else ()
        if task not in (tasks or (None,)):
            raise UserError(f"task is {task!r}", fix=f"give one of {', '.join(tasks)}" if tasks else "leave it out")
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
            asked = [(questions[place], place) for place in places]
            solutions |= dict(zip(places, self._solve(asked, count, task), strict=True))
        return [solutions[place] for place in range(len(questions))]

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write a Hugging Face folder: weights as safetensors, config, tokenizer, and ``lcot.json`` with the thoughts.

        ``AutoModelForCausalLM`` and ``AutoTokenizer`` load it, :func:`load` does too, and it can be the ``path`` of a
        backbone. What LoRA trained is added into the weights, so the folder needs no others. A halting classifier is
        not part of a language model and is refused; so is a tokenizer that ``AutoTokenizer`` would not load as it is,
        such as that of the data's words beside a Qwen 2 model.

        Raises:
            UserError: If the module has a classifier or a projection, or ``AutoTokenizer`` would read texts in another
                way.
        """
        if isinstance(self.module, SoftCoT):
            raise UserError(
                "this run is of SoftCoT, whose language model is as it was",
                why="a Hugging Face folder has no place for the assistant and the projection",
                fix="keep the checkpoint, which is small",
            )
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

    def _solve(self, asked: Sequence[tuple[str, int]], thoughts: int, task: str | None) -> list[Solution]:
        facts = {"task": task} if task is not None else {}
        questions = [question for question, _ in asked]
        examples = [ReasoningExample(question, (), "", str(place), facts) for question, place in asked]
        layouts = [self.builder.prompt(pieces, thoughts) for pieces in self.builder.encode(examples)]
        self._check_lengths(questions, layouts)
        pads = self.special.pad, self.builder.assistant_pad
        batch = collate(layouts, pads[0], examples=examples, assistant_pad=pads[1]).to(self.module.device)
        (votes,) = self.module.answers(batch).runs
        texts = [self.module.decode_texts(answers) for answers in votes]
        reader, marker = extractor(self.module.extractors[0]), self.module.text.before_answer
        solutions = []
        for place, (question, ballot) in enumerate(zip(questions, ballots(texts, reader, marker), strict=True)):
            answers, text = votes[ballot.chosen], texts[ballot.chosen][place]
            tokens = answers.written(self.special.eos)[place]
            solutions.append(Solution(question, ballot.answer, text, int(answers.thoughts[place]), tokens))
        return solutions

    def _check_lengths(self, questions: Sequence[str], layouts: Sequence[Layout]) -> None:
        assert self.module.model is not None
        limit = context_length(self.module.model)
        helper = self.module.assistant_model if isinstance(self.module, SoftCoT) else None
        small = context_length(helper) if helper is not None else None
        for question, layout in zip(questions, layouts, strict=True):
            needed, asked = layout.prompt + self.module.free_thoughts + self.module.max_new_tokens, layout.assistant
            for who, size, most in (
                ("model", needed, limit),
                ("assistant", len(asked.ids) if asked is not None else 0, small),
            ):
                if most is None or size <= most:
                    continue
                raise UserError(
                    f"a question needs {size} positions, and the {who} has {most}",
                    where=question if len(question) <= 60 else f"{question[:57]}…",
                    fix="shorten it",
                )


def load(
    path: str | Path,
    device: str = "cpu",
    checkpoint: str | None = None,
    backbone: str | None = None,
    assistant: str | None = None,
) -> Solver:
    """Load a run, one of its checkpoints, or a folder that :meth:`Solver.save_pretrained` wrote.

    Args:
        path: ``runs/<name>``, a ``.ckpt`` file of a run, or an exported folder.
        device: Where to put the model.
        checkpoint: File name within the run's ``checkpoints`` folder; the best one of the last stage if not given, or
            ``last.ckpt`` where none was marked as best.
        backbone: Where the frozen weights of a run with LoRA or of SoftCoT are, if not where they were in training.
        assistant: Where those of SoftCoT's assistant are, likewise, and its tokenizer.

    Raises:
        UserError: If there is no such run, or ``backbone`` or ``assistant`` is given for one without such weights.
        CheckpointError: If the checkpoint is damaged or not of this framework, or its frozen weights are gone or have
            changed.
    """
    path = Path(path)
    if (path / "lcot.json").is_file():
        _check_needed(backbone, assistant, {})
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
    tokenizer = load_tokenizer(run / "tokenizer")
    _check_needed(backbone, assistant, entry.get("frozen", {}))
    shape = entry["kind"], entry["thoughts"], entry["markers"], entry.get("stepwise_passes")
    if entry["module"] == SoftCoT.__name__:
        soft = load_softcot(saved, tokenizer, backbone, assistant)
        return Solver(soft.to(device), *shape, soft.builder)
    if entry.get("dialogue") is not None:
        raise CheckpointError(
            f"the checkpoint {str(file)!r} was trained on the prompt {entry['dialogue']['prompt']!r}",
            why="load() asks questions without a prompt, which the model would answer as if it were another one",
            fix="use the commands with the run's own config.yaml",
        )
    if entry["module"] != Coconut.__name__:
        raise CheckpointError(
            f"the checkpoint {str(file)!r} holds a {entry['module']}, and load() does not know it",
            fix="use the commands with the run's own config.yaml",
        )
    return Solver(load_coconut(saved, tokenizer, backbone).to(device), *shape)


def _check_needed(backbone: str | None, assistant: str | None, frozen: Mapping[str, Any]) -> None:
    for name, place, part in (("backbone", backbone, "model"), ("assistant", assistant, "assistant_model")):
        if place is not None and part not in frozen:
            raise UserError(
                f"{name} is {place!r}",
                why="the run has no frozen weights there: its checkpoints hold all of them, and the setting would be"
                " ignored"
                if part == "model"
                else "the run has no assistant, and the setting would be ignored",
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
    text, extractors = TextFormat(**described["text"]), described.get("extractors", FIRST_EXTRACTORS)
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
