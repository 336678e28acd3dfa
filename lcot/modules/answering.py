"""A language model that is asked questions: what it writes, which of it counts, and how that is reported."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning as L
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lcot.errors import UserError
from lcot.metrics import accuracy_names
from lcot.modules.evaluation import Answers, Evaluation, Votes, clock_time
from lcot.modules.judging import PathJudge
from lcot.modules.records import records
from lcot.modules.voting import Voting
from lcot.modules.work import Columns
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import find_clock
from lcot.reasoning.decode import Draws, Sampling, decode
from lcot.reasoning.flops import Shape
from lcot.reasoning.repeat import decode_copies
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
        assert self.model is not None and self.special is not None
        start = clock_time(self.device)
        with torch.no_grad():
            thinking = next(self.thinkings(batch, paths=1))
            assert len(thinking.thoughts) == len(batch), "thinkings() gives as many paths as it is asked for"
            tokens = decode(
                self.model,
                thinking,
                max_new_tokens=self.max_new_tokens,
                eos=self.special.eos,
                sampling=self.sampling,
                index=batch.index,
            )
        seconds = clock_time(self.device) - start
        price = self._price(batch, thinking, 1)
        return Answers(tokens, thinking.thoughts + batch.pauses, seconds, None if price is None else price(tokens))

    def answers(self, batch: ThoughtBatch) -> Votes:
        """All votes of all runs (:class:`~lcot.modules.voting.Voting`).

        Each path is thought once for all of its texts. They are written in groups of at most as many rows as an
        evaluation batch has (or the thinking itself, if those are more), so that memory stays that of one batch and
        its copy. A text depends on its question, seed, path and number of the sample, and on nothing beside it.
        """
        if self.voting.texts * self.thought_paths == 1:
            return Votes.single(self.answer(batch))
        assert self.model is not None and self.special is not None
        start, index, seed = clock_time(self.device), batch.index.tolist(), self.sampling.seed
        votes: list[list[tuple[list[list[int]], torch.Tensor, list[float] | None]]] = [
            [] for _ in range(self.voting.runs)
        ]
        wanted = [(run, sample) for run in range(self.voting.runs) for sample in range(self.voting.samples)]
        first = 0
        with torch.no_grad():
            for thinking in self.thinkings(batch, paths=self.thought_paths):
                paths = len(thinking.thoughts) // len(batch)
                copies = [
                    [Draws(seed + run, row, first + path, sample) for row in index for path in range(paths)]
                    for run, sample in wanted
                ]
                texts = decode_copies(
                    self.model,
                    thinking,
                    copies,
                    rows=max(len(batch), self._rows_at_once),
                    max_new_tokens=self.max_new_tokens,
                    eos=self.special.eos,
                    sampling=self.sampling,
                )
                price = self._price(batch, thinking, self.voting.samples)
                costs = [None if price is None else price(written) for written in texts]
                for path in range(paths):
                    thoughts = thinking.thoughts[path::paths] + batch.pauses
                    for (run, _), written, cost in zip(wanted, texts, costs, strict=True):
                        votes[run].append((written[path::paths], thoughts, cost and cost[path::paths]))
                first += paths
        assert first == self.thought_paths, "thinkings() gives as many paths as it is asked for"
        seconds = (clock_time(self.device) - start) / sum(map(len, votes))
        return Votes(
            tuple(tuple(Answers(tokens, thoughts, seconds, cost) for tokens, thoughts, cost in run) for run in votes)
        )

    def _price(
        self, batch: ThoughtBatch, thinking: Thinking, samples: int
    ) -> Callable[[Sequence[Sequence[int]]], list[float]] | None:
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
        answers = self.answers(batch)
        return {"answers": answers, "right": self._count("test", batch, answers)}

    def predict_step(self, batch: ThoughtBatch, batch_idx: int) -> list[dict[str, Any]]:
        """One record a question: see :meth:`records`."""
        return self.records(batch, self.answers(batch))

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
        self._log_means("test")

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
