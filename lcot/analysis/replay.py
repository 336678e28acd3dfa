"""What a model says behind thoughts that it is given, whoever thought them.

A row is read as it would be at inference, but for the places of its thoughts, where given vectors stand:

    question ⊕ bot ⊕ given vectors × k ⊕ eot ⊕ text

The keys and values of everything behind a vector are computed anew from it. For this to say something about a method,
its text may depend on nothing else than what stands in these columns: :class:`Replay` looks at that for every question,
by giving the method its own thoughts back.

Letters in shapes: B rows, M variants of the thoughts of each, k thoughts, D hidden width, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lcot.analysis.attention import attention_weights
from lcot.analysis.thinker import Thinker
from lcot.errors import UserError
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.cache import growing_cache
from lcot.reasoning.decode import decode
from lcot.reasoning.feeds import embedding_table
from lcot.reasoning.layout import IGNORE, EncodedExample
from lcot.reasoning.soft import think_given
from lcot.reasoning.think import Passes, Thinking

_LOGITS = 2**25
"""Logits that are held at once."""


@dataclass(frozen=True, slots=True)
class Said:
    """What follows from one variant of the thoughts of a question.

    Attributes:
        tokens: The text, written greedily.
        text: Log-probability, in nats, of the whole right text: what is left of the steps, the answer, and eos.
        answer: That of the answer's own tokens in it; ``None`` where they do not begin at a token.
    """

    tokens: list[int]
    text: float
    answer: float | None


@dataclass(frozen=True)
class Replay:
    """Reads questions with given thoughts.

    Attributes:
        thinker: The model.
        k: Number of thoughts.
        max_new_tokens: Longest text.
        spoken: What the output head reads of states (:class:`~lcot.reasoning.think.Thinking`).
    """

    thinker: Thinker
    k: int
    max_new_tokens: int
    spoken: Callable[[Tensor], Tensor] | None = None

    def said(
        self,
        encoded: Sequence[EncodedExample],
        golds: Sequence[tuple[list[int], int | None]],
        vectors: Tensor,
        hidden: Tensor | None = None,
    ) -> list[Said]:
        """What is written, and how probable the right text is; call it within :func:`~lcot.analysis.thinker.measuring`.

        Args:
            encoded: B questions.
            golds: For each the ids of the right text, and the place of the answer's first among them.
            vectors: ``(B * M, k, D)``, the M variants of a question one behind another.
            hidden: ``(B * M, k)`` bool: thoughts that nothing behind the thoughts sees.

        Returns:
            One record a variant.
        """
        batch = self.batch(encoded, [ids for ids, _ in golds])
        thinking = self.thinking(batch, vectors, hidden)
        variants = len(vectors) // len(encoded)
        starts = [start for _, start in golds for _ in range(variants)]
        texts, answers = self._log_probabilities(batch, thinking, [start or 0 for start in starts])
        rows = zip(self._decode(thinking), texts, answers, starts, strict=True)
        return [Said(ids, text, None if start is None else answer) for ids, text, answer, start in rows]

    def gradients(
        self, encoded: Sequence[EncodedExample], golds: Sequence[tuple[list[int], int | None]], own: Tensor
    ) -> Tensor:
        """Gradient times state ``(B, k)`` of the right texts' log-probabilities.

        Args:
            encoded: B questions.
            golds: As in :meth:`said`.
            own: ``(B, k, D)`` their thoughts.
        """
        batch = self.batch(encoded, [ids for ids, _ in golds])
        with torch.enable_grad():
            given = own.to(self.thinker.device).detach().requires_grad_()
            read = think_given(self.thinker.model, batch, given)
            thinking = replace(read, spoken=self.spoken)
            total = torch.zeros((), device=given.device)
            for _, _, logits, targets in self._logits(batch, thinking):
                total = total - cross_entropy(logits, targets, reduction="sum")
            (gradient,) = torch.autograd.grad(total, given)
        found: Tensor = (gradient * given.detach()).sum(dim=-1).float().cpu()
        return found

    def attention(
        self, encoded: Sequence[EncodedExample], golds: Sequence[tuple[list[int], int | None]], own: Tensor
    ) -> Tensor:
        """The share ``(B, k)`` of attention that right texts pay to thoughts, mean over places, heads and layers.

        Args:
            encoded: B questions.
            golds: As in :meth:`said`.
            own: ``(B, k, D)`` their thoughts.

        Raises:
            UserError: If the model gives no weights.
        """
        model, batch = self.thinker.model, self.batch(encoded, [ids for ids, _ in golds])
        head, length = batch.first, batch.input_ids.shape[1]
        embedded = model.get_input_embeddings()(batch.input_ids)
        cache = growing_cache(model.config, length)
        Passes(model, batch.attention_mask, batch.position_ids, cache)(embedded[:, :head], 0, head)
        rest = torch.cat([own.to(embedded), embedded[:, head + self.k :]], dim=1)
        weights = attention_weights(model, rest, batch.attention_mask, batch.position_ids, cache)
        # The state of the column before a token says it.
        says = torch.cat([batch.labels[:, head + 1 :] != IGNORE, batch.labels.new_zeros(len(batch), 1).bool()], dim=1)
        layers = [layer[..., head : head + self.k].float().mean(dim=1) for layer in weights]
        to_thoughts = torch.stack(layers).mean(dim=0)
        found: Tensor = (to_thoughts * says[..., None]).sum(dim=1) / says.sum(dim=1)[:, None]
        return found.cpu()

    def check(
        self, encoded: Sequence[EncodedExample], own: Tensor, states: Tensor, written: Sequence[list[int]]
    ) -> Iterator[bool]:
        """Make sure that a method that is given its own thoughts says what it said.

        Args:
            encoded: B questions.
            own: ``(B, k, D)`` the method's own thoughts.
            states: ``(B, D)`` its states at the last place of the prompt.
            written: The texts that it wrote.

        Yields:
            For each question whether the same text is written; otherwise there is a token in it that is as probable as
            another one up to rounding, and the other one is taken.

        Raises:
            UserError: If anything differs by more than rounding.
        """
        batch = self.batch(encoded, written)
        thinking = self.thinking(batch, own)
        tolerance = math.sqrt(torch.finfo(self.thinker.model.dtype).eps)
        there, before = thinking.state_at(thinking.prompt_ends - 1).float().cpu(), states.float().cpu()
        apart = (there - before).norm(dim=-1) / before.norm(dim=-1).clamp(min=1e-12)
        lags = torch.zeros(len(batch))
        for rows, _, logits, targets in self._logits(batch, thinking):
            best, worst = logits.max(dim=-1).values, logits.min(dim=-1).values
            lag = (best - logits.gather(1, targets[:, None])[:, 0]) / (best - worst).clamp(min=1e-12)
            lags.scatter_reduce_(0, rows, lag.cpu(), "amax")
        found = zip(written, self._decode(thinking), apart.tolist(), lags.tolist(), strict=True)
        for number, (text, replayed, away, lag) in enumerate(found):
            if not (away <= tolerance and lag <= tolerance):  # nor if it is no number
                what = f"the state before the text is {away:.1e} of its length away from what it was"
                if away <= tolerance:
                    what = f"a token of its text is {lag:.1e} of the logits' span away from the most probable one"
                raise UserError(
                    "a question that is given its own thoughts back is not answered as it was",
                    where=f"question {number + 1} of {len(batch)} that were read together",
                    why=f"{what}: the method's text depends on more than what stands at the places of its thoughts",
                    fix="nothing can be said about its thoughts by changing them",
                )
            yield text == replayed

    def batch(self, encoded: Sequence[EncodedExample], texts: Sequence[list[int]]) -> ThoughtBatch:
        """Prompts with texts behind them, whose places of thoughts are open, of whatever kind the thoughts are.

        Raises:
            UserError: If a row takes more positions than the model has.
        """
        room = max([self.max_new_tokens, *map(len, texts)])
        rows = [
            replace(row, ids=row.ids + text, labels=row.labels + text)
            for row, text in zip(self.thinker.rows(encoded, self.k, room=room), texts, strict=True)
        ]
        made = self.thinker.batch(rows)
        thoughts, none = made.thoughts + made.pauses, torch.zeros_like(made.pauses)
        return replace(made, thoughts=thoughts, pauses=none, max_thoughts=self.k, stepped=0, views={})

    def thinking(self, batch: ThoughtBatch, vectors: Tensor, hidden: Tensor | None = None) -> Thinking:
        """The record of rows of :meth:`batch` that were read with given thoughts."""
        given = vectors.to(self.thinker.device)
        seen = hidden if hidden is None else hidden.to(given.device)
        return replace(think_given(self.thinker.model, batch, given, keep_cache=True, hidden=seen), spoken=self.spoken)

    def _decode(self, thinking: Thinking) -> list[list[int]]:
        eos = self.thinker.builder.special.eos
        return decode(self.thinker.model, thinking, max_new_tokens=self.max_new_tokens, eos=eos)

    def _log_probabilities(
        self, batch: ThoughtBatch, thinking: Thinking, starts: Sequence[int]
    ) -> tuple[list[float], list[float]]:
        """Log-probabilities of the texts of B * M rows, and of what stands in each behind a number of its tokens."""
        texts, answers = (torch.zeros(len(starts), dtype=torch.float64) for _ in range(2))
        begin = thinking.prompt_ends.cpu() + torch.tensor(starts)
        for rows, columns, logits, targets in self._logits(batch, thinking):
            own = logits.log_softmax(dim=-1).gather(1, targets[:, None])[:, 0].double().cpu()
            texts.index_add_(0, rows, own)
            answers.index_add_(0, rows, own * (columns >= begin[rows]))
        return texts.tolist(), answers.tolist()

    def _logits(self, batch: ThoughtBatch, thinking: Thinking) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Of all tokens of texts, some at a time: their rows, their columns, the logits there, and their ids."""
        variants = len(thinking.thoughts) // len(batch)
        labels = batch.labels.repeat_interleave(variants, dim=0)
        rows, columns = (labels != IGNORE).nonzero(as_tuple=True)
        at_once = max(1, _LOGITS // len(embedding_table(self.thinker.model)))
        pieces = zip(torch.split(rows, at_once), torch.split(columns, at_once), strict=True)
        for own_rows, own_columns in pieces:
            # The state of the column before says what stands in a column; the first one that is kept is column P - 1.
            states = thinking.states[own_rows, own_columns - thinking.first]
            logits = thinking.logits(self.thinker.model, states).float()
            yield own_rows.cpu(), own_columns.cpu(), logits, labels[own_rows, own_columns]
