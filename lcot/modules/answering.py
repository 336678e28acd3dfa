"""A language model that is asked questions: what it writes, which of it counts, and how that is reported."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import lightning as L
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lcot.errors import UserError
from lcot.metrics import accuracy_names
from lcot.modules.evaluation import Answers, Evaluation, Votes
from lcot.modules.judging import PathJudge
from lcot.modules.records import records
from lcot.modules.turns import Price, Turns, answered
from lcot.modules.voting import Voting
from lcot.modules.work import Columns
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import find_clock
from lcot.reasoning.decode import Sampling
from lcot.reasoning.flops import Shape
from lcot.reasoning.text import TextFormat
from lcot.reasoning.think import Thinking
from lcot.reasoning.tokens import SpecialTokens

_log = logging.getLogger("lcot")


class AnsweringModule(L.LightningModule, ABC):
    """A language model that answers the questions of :class:`~lcot.reasoning.batch.ThoughtBatch`.

    A method says how it thinks (:meth:`think`); writing, voting and counting are the same for all of them.

    Args:
        max_new_tokens: Longest text that is generated for an answer.
        sampling: How tokens are chosen in validation, test and prediction; greedy if not given.
        voting: How many texts a question gets in test and prediction; one if not given.

    Raises:
        UserError: If ``max_new_tokens`` is below 1, or greedy texts are to be repeated.
    """

    model: PreTrainedModel | None

    def __init__(self, max_new_tokens: int, sampling: Sampling | None = None, voting: Voting | None = None) -> None:
        super().__init__()
        if max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {max_new_tokens}", where="model.max_new_tokens", fix="use 1 or more")
        self.max_new_tokens = max_new_tokens
        self.sampling = sampling or Sampling()
        self.voting = voting or Voting()
        self.voting.check(self.sampling)
        self.model = None
        self.tokenizer: PreTrainedTokenizerBase | None = None
        self.special: SpecialTokens | None = None
        self.text = TextFormat()
        self.extractors: tuple[str, ...] = ("string",)
        self._rows_at_once = 0
        self._turns: Turns | None = None
        self._told_unpaired = False
        self.configure_metrics()

    # -- what a method defines ------------------------------------------------------------------------------------

    @abstractmethod
    def think(self, batch: ThoughtBatch, *, keep_cache: bool = False) -> Thinking:
        """Think about every row of a batch: the one way to a method's states, for whoever measures thoughts as well.

        Args:
            batch: B rows.
            keep_cache: Keep keys and values, to decode from them.
        """

    def thinkings(self, batch: ThoughtBatch, paths: int) -> Iterator[Thinking]:
        """Think about every row of a batch, so that text can be written.

        Args:
            batch: B rows.
            paths: How many thought paths of each row are wanted, the first of :attr:`thought_paths`.

        Yields:
            Thinkings with their caches, which add up to all paths. One of B · k rows holds k paths of each row, one
            behind another. Each is decoded before the next is asked for.
        """
        yield self.think(batch, keep_cache=True)

    def thinking_flops(self, batch: ThoughtBatch, thinking: Thinking, shape: Shape) -> list[int] | None:
        """Operations of thinking about each row, its prompt included (:mod:`lcot.reasoning.flops`).

        Args:
            batch: B rows.
            thinking: Of B · k rows: k paths of each row, one behind another.
            shape: Of the language model.

        Returns:
            B · k numbers; ``None`` if a method does not say, and operations are not reported.
        """
        return None

    @property
    def spoken_flops(self) -> int:
        """Operations for each written token before the output head reads its state."""
        return 0

    @property
    def thought_paths(self) -> int:
        """Different ways in which the method thinks about one question; each gives votes of its own."""
        return 1

    # -- answers ----------------------------------------------------------------------------------------------------

    def answer(self, batch: ThoughtBatch) -> Answers:
        """Think and write for every row of a batch: one text each, the first under the first seed."""
        (votes,) = answered(self, [batch], Voting(), 1, len(batch))
        return votes.every[0]

    def answers(self, batch: ThoughtBatch) -> Votes:
        """All votes of all runs (:class:`~lcot.modules.voting.Voting`).

        Each path is thought once for all of its texts. At most as many are written at once as an evaluation batch has
        rows (or the thinking itself, if those are more), so that memory stays that of one batch and its copy. A text
        depends on its question, seed, path and number of the sample, and on nothing beside it.
        """
        if self.voting.texts * self.thought_paths == 1:
            return Votes.single(self.answer(batch))
        (votes,) = answered(self, [batch], self.voting, self.thought_paths, max(len(batch), self._rows_at_once))
        return votes

    def answers_in_turn(self, batch: ThoughtBatch) -> Votes:
        """All votes of a loader's batch, whose texts are written among those of the batches that follow it.

        Texts are those of :meth:`answers`; a class with one of its own, or its own :meth:`answer`, is asked for each
        batch by itself.
        """
        known = (AnsweringModule.answer, AnsweringModule.answers)
        own = [getattr(asked, "__func__", None) for asked in (self.answer, self.answers)] != [*known]
        if batch.window is None or own:
            return self.answers(batch)
        if self._turns is None or not self._turns.are_at(batch):
            if batch.window.batches[0].index.tolist() != batch.index.tolist():
                return self.answers(batch)
            batches, rows = map(self._moved, batch.window.batches), max(len(batch), self._rows_at_once)
            self._turns = Turns(batch.window, answered(self, batches, self.voting, self.thought_paths, rows))
        return self._turns.take()

    def _moved(self, batch: ThoughtBatch) -> ThoughtBatch:
        """A loader's batch as Lightning hands it to a step."""
        trainer = self.trainer
        batch = self._on_before_batch_transfer(trainer.precision_plugin.convert_input(batch), 0)
        moved: ThoughtBatch = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
        return moved

    def price(self, batch: ThoughtBatch, thinking: Thinking, samples: int) -> Price | None:
        """What gives the operations of each of a thinking's texts, so many in a run; ``None`` if nobody knows them."""
        assert self.model is not None
        shape = Shape.of(self.model)
        thought = None if shape is None else self.thinking_flops(batch, thinking, shape)
        if shape is None or thought is None:
            return None
        rows, spoken = Columns.of(thinking), self.spoken_flops

        def priced(texts: Sequence[Sequence[int]]) -> list[float]:
            return [
                work / samples + len(text) * spoken + shape.write(len(text), row.prompt)
                for text, row, work in zip(texts, rows, thought, strict=True)
            ]

        return priced

    def decode_texts(self, answers: Answers) -> list[str]:
        """The written text of each row, without eos."""
        assert self.tokenizer is not None and self.special is not None
        eos = self.special.eos
        return [str(self.tokenizer.decode([token for token in row if token != eos])) for row in answers.tokens]

    def decoding(self, split: str) -> dict[str, Any]:
        """How answers of ``val`` or ``test`` are written, in plain values, for a report."""
        if split == "val":
            return Voting().described(self.sampling)
        return self.voting.described(self.sampling, self.thought_paths)

    # -- set-up -----------------------------------------------------------------------------------------------------

    def attach(
        self,
        tokenizer: PreTrainedTokenizerBase,
        special: SpecialTokens,
        text: TextFormat,
        extractors: Sequence[str] = ("string",),
    ) -> None:
        """Tell the module what its ids mean, and how answers are read from its texts.

        Args:
            tokenizer: With the thought tokens.
            special: Their ids.
            text: How question, steps and answer are joined.
            extractors: Names of extractors: first that of ``accuracy``, then those of ``accuracy_NAME``.

        Raises:
            UserError: If there is no such extractor.
        """
        self.tokenizer, self.special, self.text = tokenizer, special, text
        self._read_answers_by(extractors)

    def setup(self, stage: str) -> None:
        """Read answers as the trainer's data module says, also where the model came from an earlier run."""
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            self._read_answers_by(data.extractors)
            self._rows_at_once = data.eval_batch_size

    def configure_metrics(self) -> None:
        """Metrics of validation and test, none counted."""
        runs = {"val": 1, "test": self.voting.runs}
        self.evaluations = nn.ModuleDict({split: Evaluation(self.extractors, runs[split]) for split in runs})

    def evaluation(self, split: str) -> Evaluation:
        """The metrics of ``val`` or ``test``."""
        found = self.evaluations[split]
        assert isinstance(found, Evaluation)
        return found

    def _read_answers_by(self, extractors: Sequence[str]) -> None:
        if tuple(extractors) != self.extractors:
            accuracy_names(extractors)
            self.extractors = tuple(extractors)
            self.configure_metrics()

    # -- steps ------------------------------------------------------------------------------------------------------

    def test_step(self, batch: ThoughtBatch, batch_idx: int) -> dict[str, Any]:
        """Generated answers of a batch.

        Returns:
            Under ``right``, of each run which questions were answered right, and under ``answers`` what was written:
            callbacks may keep them.
        """
        answers = self.answers_in_turn(batch)
        return {"answers": answers, "right": self._count("test", batch, answers)}

    def predict_step(self, batch: ThoughtBatch, batch_idx: int) -> list[dict[str, Any]]:
        """One record a question: see :meth:`records`."""
        return self.records(batch, self.answers_in_turn(batch))

    def on_validation_epoch_start(self) -> None:
        """Forget what a sanity check, or a validation that was broken off, has counted."""
        self.evaluation("val").reset()

    def on_test_epoch_start(self) -> None:
        """Forget what a test that was broken off has counted."""
        self.evaluation("test").reset()

    def on_validation_epoch_end(self) -> None:
        """Log validation's means over all ranks."""
        self._log_means("val")

    def on_test_epoch_end(self) -> None:
        """Log test's means over all ranks."""
        self._turns = None
        self._log_means("test")

    def on_predict_epoch_end(self) -> None:
        """Let go of what was thought for batches that nobody asked for."""
        self._turns = None

    def records(self, batch: ThoughtBatch, answers: Answers | Votes) -> list[dict[str, Any]]:
        """Questions with what was written, as plain values.

        ``tokens`` counts generated tokens without eos, ``thoughts`` what stands between the markers; ``seconds`` is the
        batch's wall time divided by its rows; ``answer`` is ``None`` where none could be extracted. ``steps`` is the
        number of steps of the gold reasoning, to see how accuracy falls with longer chains, and ``pair`` the name that
        a question shares with another one about the same problem, if it is one of two. ``answer`` and ``correct``
        are those of the first extractor; each further one has a ``correct_NAME``. ``path`` is the category of the way
        that ``output`` took (:func:`lcot.metrics.paths.judge`), where the problem has a graph.

        Of several texts a question, all this is about the first run and the vote that counts in it; ``samples`` then
        lists the runs: their seed, all ``outputs`` and ``answers`` (and ``paths``), and which answer counts and whether
        it is right.
        """
        assert self.special is not None
        votes = answers if isinstance(answers, Votes) else Votes.single(answers)
        marker, eos = self.text.before_answer, self.special.eos
        seed, judge = self.sampling.seed, self._judge(batch)
        return records(batch, votes, self._texts(votes), self.extractors, marker, eos, seed, judge)

    def _judge(self, batch: ThoughtBatch) -> PathJudge:
        clock = find_clock(getattr(self._trainer, "callbacks", ()))
        if clock is None:
            return PathJudge(batch.examples, self.text.before_answer)
        schedule, stage = clock.schedule, clock.stage()
        return PathJudge(batch.examples, self.text.before_answer, lambda k: schedule.hidden_behind(stage, k))

    def _texts(self, votes: Votes) -> list[list[list[str]]]:
        return [[self.decode_texts(answers) for answers in run] for run in votes.runs]

    def _count(self, split: str, batch: ThoughtBatch, votes: Votes) -> list[list[bool]]:
        assert self.special is not None
        golds, marker = [example.answer for example in batch.examples], self.text.before_answer
        texts, judge, pairs = self._texts(votes), self._judge(batch), [example.pair for example in batch.examples]
        return self.evaluation(split).count(texts, golds, marker, votes, self.special.eos, judge, pairs)

    def _log_means(self, split: str) -> None:
        evaluation = self.evaluation(split)
        # A resumed run replays this hook for an epoch without batches; nothing was counted then.
        if self.trainer.sanity_checking or not evaluation.begun:
            return
        means = evaluation.means()
        if "unpaired" in means:
            self._say_unpaired(int(means["unpaired"]))
        for name, value in means.items():
            self.log(f"{split}/{name}", value, prog_bar=name == "accuracy", rank_zero_only=False)
        examples = self.trainer.strategy.reduce(evaluation.examples(), reduce_op="sum")
        self.log(f"{split}/examples", torch.as_tensor(examples).float())
        evaluation.reset()

    def _say_unpaired(self, count: int) -> None:
        """Say once that some questions do not count in the pair accuracy."""
        if self.trainer.is_global_zero and not self._told_unpaired:
            self._told_unpaired = True
            _log.warning(
                "lcot: warning: %s question%s whose other one was not asked count%s in no pair (a limit on batches, or"
                " data.too_long 'drop')",
                f"{count:,}",
                "s" * (count != 1),
                "s" * (count == 1),
            )
