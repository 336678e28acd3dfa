"""A trained run from Python: load it, ask it, hand it on.

import lcot

solver = lcot.load("runs/prosqa")
solver.solve(["…"])[0].answer
solver.save_pretrained("my-model")
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from lcot.datamodules.tokenizers import load_tokenizer
from lcot.errors import CheckpointError, UserError
from lcot.metrics import extractor
from lcot.modules.coconut import Coconut
from lcot.modules.intact import DESCRIPTION
from lcot.modules.limits import context_length
from lcot.modules.own import load_code, own_class
from lcot.modules.parts import own_names
from lcot.modules.softcot import SoftCoT
from lcot.modules.stored import pick_checkpoint, read_checkpoint, without_best
from lcot.modules.voting import ballots
from lcot.reasoning.batch import collate
from lcot.reasoning.curriculum import Markers, ThoughtKind
from lcot.reasoning.dialogue import DialogueBuilder
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import Layout, LayoutBuilder
from lcot.reasoning.spans import SpanBuilder
from lcot.reasoning.tokens import SpecialTokens
from lcot.runs.exports import read_description, read_softcot, write_coconut, write_softcot
from lcot.runs.loading import dialogue_builder, load_coconut, load_exported, load_softcot, method_of
from lcot.runs.untrained import is_released, is_untrained, load_released, load_untrained
from lcot.settings import only_cached

_log = logging.getLogger("lcot")


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
        lead: Text behind each question, where there is no ``builder``.
    """

    def __init__(
        self,
        module: Coconut | SoftCoT,
        kind: ThoughtKind,
        thoughts: int,
        markers: Markers = "always",
        stepwise_passes: bool | None = None,
        builder: LayoutBuilder | None = None,
        lead: str = "",
    ) -> None:
        assert module.model is not None and module.tokenizer is not None and module.special is not None
        self.module = module.eval()
        self.tokenizer: PreTrainedTokenizerBase = module.tokenizer
        self.special: SpecialTokens = module.special
        self.kind = kind
        self.markers = markers
        self.thoughts = thoughts
        if builder is None and lead:
            builder = SpanBuilder(self.tokenizer, self.special, module.text, lead=lead)
        self.builder = builder or LayoutBuilder(
            self.tokenizer, self.special, kind, module.text, markers=markers, stepwise_passes=stepwise_passes
        )

    def solve(
        self,
        questions: Iterable[str],
        batch_size: int = 32,
        thoughts: int | None = None,
        task: str | None = None,
    ) -> list[Solution]:
        """Answer questions.

        Args:
            questions: Texts in the form of the training data, read as they are: a space at the end is a part of one.
            batch_size: Questions that are answered at once; it changes speed, not answers.
            thoughts: Number of thoughts (or pauses) before the text; the run's own if not given. A model that was not
                trained with this number answers at once or writes nonsense; stages that are mixed see several.
            task: Which of its tasks the questions are of, for a run whose ``dialogue`` has some.

        Returns:
            One solution a question, in their order.

        Raises:
            UserError: If a question is no text, blank, or too long for the model, a number cannot be, or the run has no
                such task.
        """
        for name, number in (("batch_size", batch_size), ("thoughts", 0 if thoughts is None else thoughts)):
            if type(number) is not int:
                raise UserError(f"{name} is {number!r}", fix="give a whole number")
        if batch_size < 1:
            raise UserError(f"batch_size is {batch_size}", fix="use 1 or more")
        count, halts = self.thoughts if thoughts is None else thoughts, getattr(self.module, "ends_thoughts", False)
        if count < 0 or (count and self.kind == "none") or (thoughts is not None and halts):
            raise UserError(
                f"thoughts is {thoughts}, and this run's thoughts are of kind {self.kind!r}",
                why="the model ends its thoughts itself" if halts else None,
                fix="leave it out, or use 0 or more with a run that has thoughts",
            )
        tasks = self.builder.dialogue.tasks if isinstance(self.builder, DialogueBuilder) else ()
        if task not in (tasks or (None,)):
            raise UserError(f"task is {task!r}", fix=f"give one of {', '.join(tasks)}" if tasks else "leave it out")
        if isinstance(questions, str):
            raise UserError("solve() got one string", fix="give a list of questions: solve([question])")
        try:
            questions = list(questions)
        except TypeError as err:
            raise UserError(f"solve() got {questions!r}", fix="give a list of questions: solve([question])") from err
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
        """Write a folder that :func:`load` reads.

        For most methods it is a Hugging Face folder: weights as safetensors, config, tokenizer, and ``lcot.json`` with
        the thoughts. ``AutoModelForCausalLM`` and ``AutoTokenizer`` load it, and it can be the ``path`` of a backbone.
        What LoRA trained is added into the weights, so the folder needs no others. A halting classifier is not part of
        a language model and is refused; so is a tokenizer that ``AutoTokenizer`` would not load as it is, such as that
        of the data's words beside a Qwen 2 model.

        For SoftCoT, whose models are as they were, it holds what was trained beside them (:mod:`lcot.runs.exports` has
        their list): LoRA adapters are in peft's own format, prompts and tokenizers are there, frozen weights are named.

        Raises:
            UserError: If the module has a classifier or is of a class of one's own, ``AutoTokenizer`` would read texts
                in another way, or the folder is a file.
        """
        folder, own = Path(folder), own_class(type(self.module))
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{str(folder)!r} is a file, not a folder", fix="give a folder, which need not be there")
        if own is not None:
            raise UserError(
                f"this run's method is {own.replace(':', '.')}",
                why="the folder would not hold how it thinks, and whoever loads it would get another method's answers",
                fix="keep the run, which lcot.load reads; solver.module.model.save_pretrained writes the weights alone",
            )
        shape = {
            "kind": self.kind,
            "markers": self.markers,
            "thoughts": self.thoughts,
            "stepwise_passes": self.builder.stepwise_passes,
            **({"lead": self.builder.lead} if isinstance(self.builder, SpanBuilder) else {}),
        }
        if isinstance(self.module, SoftCoT):
            write_softcot(self.module, self.builder, shape, folder)
        else:
            write_coconut(self.module, self.builder, shape, folder)
        return folder

    def _solve(self, asked: Sequence[tuple[str, int]], thoughts: int, task: str | None) -> list[Solution]:
        facts = {"task": task} if task is not None else {}
        questions = [question for question, _ in asked]
        examples = [ReasoningExample(question, (), "", str(place), facts) for question, place in asked]
        layouts = [self.builder.prompt(pieces, thoughts) for pieces in self.builder.encode(examples)]
        self._check_lengths(questions, layouts)
        pads = self.special.pad, self.builder.assistant_pad
        index = [place for _, place in asked]  # keys the draws of sampling, whatever the batch
        batch = collate(layouts, pads[0], index, examples, assistant_pad=pads[1]).to(self.module.device)
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
    code: str | Path | None = None,
    prompt: str | None = None,
) -> Solver:
    """Load a run, one of its checkpoints, a folder that :meth:`Solver.save_pretrained` wrote, or a plain model.

    A plain model, a Hugging Face folder or a GGUF file, is asked zero-shot, in its own chat template. So are the models
    of a run that trained nothing, in the way of that run.

    Nothing that lies in the folder is run. A run whose model is a subclass of Coconut or SoftCoT needs its class: of a
    module that is imported already, of an installed package, or of the file that ``code`` names. Frozen weights that
    the folder names are read from where they are, or from the local cache of the Hub, and not fetched.

    Args:
        path: ``runs/<name>``, a ``.ckpt`` file of a run, an exported folder, or that of a model.
        device: Where to put the model.
        checkpoint: File name within the run's ``checkpoints`` folder; the best one of the last stage if not given, or
            ``last.ckpt`` where none of that stage was validated, which one line says.
        backbone: Where the frozen weights of a run with LoRA or of SoftCoT are, if not where they were in training.
        assistant: Where those of SoftCoT's assistant are, likewise, and its tokenizer.
        code: The Python file of the run's class, which is imported.
        prompt: In which words a plain model is asked, ``chat/math`` and the like or a file of one's own; ``chat/steps``
            if not given, whose answers stand in a box.

    Raises:
        UserError: If there is no such run or device; ``backbone``, ``assistant`` or ``code`` is given for a run
            without such weights, or of a class from here; or ``prompt`` for one that has its own.
        CheckpointError: If the checkpoint is damaged or not of this framework, its class cannot be imported, or its
            frozen weights are gone or have changed.
    """
    path = Path(path)
    _check_device(device)
    exported = (path / DESCRIPTION).is_file()
    if not exported and (is_released(path) or is_untrained(path)):
        _check_needed(backbone, assistant, code, {})
        return _taken_as_it_is(path, prompt, device)
    if prompt is not None:
        why = "what was trained is asked as it was trained, and the setting would be ignored"
        raise UserError(f"prompt is {prompt!r}", why=why, fix="leave it out")
    if exported:
        described = read_description(path)
        _check_needed(backbone, assistant, code, described)
        tokenizer = load_tokenizer(path)
        if "module" not in described:
            module = load_exported(path, described, tokenizer)
            words = dialogue_builder(described, tokenizer)
            return Solver(module.to(device), *_shape(described), words, described.get("lead", ""))
        return _solver(read_softcot(path, described), tokenizer, path, device, backbone, assistant, code)
    file = path if path.suffix == ".ckpt" else pick_checkpoint(path, checkpoint)
    if file != path and checkpoint is None and (said := without_best(path)) is not None:
        _log.warning("%s", said)
    saved = read_checkpoint(file)
    run = file.parent.parent
    if not (run / "tokenizer").is_dir():
        raise CheckpointError(
            f"there is no tokenizer beside the checkpoint {str(file)!r}",
            where=str(run / "tokenizer"),
            fix="load it where its run is, runs/<name>/checkpoints, or copy the run's tokenizer folder too",
        )
    tokenizer = load_tokenizer(run / "tokenizer")
    _check_needed(backbone, assistant, code, saved["lcot"])
    return _solver(saved, tokenizer, file, device, backbone, assistant, code)


def _taken_as_it_is(path: Path, prompt: str | None, device: str) -> Solver:
    """A plain model, or those of a run that trained nothing."""
    plain = is_released(path)
    if prompt is not None and not plain:
        raise UserError(f"prompt is {prompt!r}", why="the run's config says how it is asked", fix="leave it out")
    tokenizer = load_tokenizer(path if plain else path / "tokenizer")
    module, schedule, builder = load_released(path, tokenizer, prompt) if plain else load_untrained(path, tokenizer)
    thoughts, lead = schedule.thoughts_at_inference(schedule.last_stage), getattr(builder, "lead", "")
    return Solver(module.to(device), schedule.kind, thoughts, schedule.markers, None, builder, lead)


def _solver(
    saved: dict[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    file: Path,
    device: str,
    backbone: str | None,
    assistant: str | None,
    code: str | Path | None,
) -> Solver:
    entry: dict[str, Any] = saved["lcot"]
    if code is not None:
        load_code(code, own_names(entry))
    kind, config = method_of(entry, str(file)), file.parent.parent / "config.yaml"
    theirs = {weights["path"] for weights in entry["frozen"].values()} | {(entry["dialogue"] or {}).get("assistant")}
    with only_cached({name for name in theirs if name is not None} - {backbone, assistant}):
        if issubclass(kind, SoftCoT):
            soft = load_softcot(saved, tokenizer, backbone, assistant, kind, config)
            return Solver(soft.to(device), *_shape(entry), soft.builder)
        module = load_coconut(saved, tokenizer, backbone, kind, config)
        return Solver(module.to(device), *_shape(entry), dialogue_builder(entry, tokenizer), entry.get("lead", ""))


def _shape(entry: Mapping[str, Any]) -> tuple[ThoughtKind, int, Markers, bool | None]:
    return entry["kind"], entry["thoughts"], entry["markers"], entry["stepwise_passes"]


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as err:
        raise UserError(
            f"the device is {device!r}", why=str(err).splitlines()[0], fix="use cpu, or leave it out"
        ) from err


def _check_needed(
    backbone: str | None, assistant: str | None, code: str | Path | None, entry: Mapping[str, Any]
) -> None:
    frozen = entry.get("frozen", {})
    if code is not None and not own_names(entry):
        why = "the run's method, thinker and feed are lcot's own, and the setting would be ignored"
        raise UserError(f"code is {str(code)!r}", why=why, fix="leave it out")
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
