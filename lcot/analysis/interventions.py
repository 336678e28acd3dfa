"""Do the thoughts do anything? What is answered behind thoughts that were changed, question by question.

There are three passes over the questions. The first reads their words alone, and finds out who can be whose donor. In
the second the method thinks and answers as it does; its thoughts, the state before its text and its answer go to disk.
In the third the thoughts are changed and given back (:mod:`lcot.analysis.replay`). In memory there are, besides the
rows that are read at once, some 80 bytes a question, and the thoughts of :data:`BASIS` questions for their covariance.

Letters in shapes: B questions, M variants of each, k thoughts, D hidden width.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lcot.analysis.donors import KINDS, Donors, Kind
from lcot.analysis.edits import DEFAULT, SCOPES, Intervention, Material, Scope, edit_of, interventions
from lcot.analysis.effects import UNCHANGED, Answered
from lcot.analysis.replay import Replay, Said
from lcot.analysis.rethink import lacks, rethought
from lcot.analysis.shelf import Shelf
from lcot.analysis.subject import Subject
from lcot.analysis.thinker import chunks, measuring
from lcot.analysis.weights import Weighed
from lcot.errors import UserError
from lcot.metrics.extractors import extractor
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.decode import decode
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import EncodedExample

BASIS = 512
"""Questions whose thoughts the covariance is taken of, evenly spread over all of them."""

_NO_DONOR: Mapping[Kind, str] = {
    "same_gold": "no two questions with as many steps have the same answer",
    "other_gold": "no two questions with as many steps have another answer",
    "pair": "no two questions are asked about the same facts (data.ask: both)",
}

Givers = Mapping[Kind, int | None]
"""The numbers of a question's donors."""


class Interventions:
    """All interventions on the thoughts of a method.

    Args:
        subject: The model, the questions, and what is left of a question's steps.
        k: Number of thoughts.
        names: Of the edits; all of :data:`~lcot.analysis.edits.DEFAULT` that apply, if not given.
        scopes: Which thoughts are changed.
        seed: Keys what is drawn.

    Attributes:
        count: Number of questions.
        missing: What does not apply, by the edit's name, each with the reason; ``total`` for total effects, and
            ``attention`` for that of texts.
        alone: Whether questions are read one by one, since the method looks at the padding of a batch: alone, a
            question has none.
        ties: Questions whose text has a token that is as probable as another one up to rounding, so that their own
            thoughts, given back, lead to another text.

    Raises:
        UserError: If an edit or the number of thoughts cannot be, the method has no thoughts, or an edit that was asked
            for does not apply.
    """

    def __init__(
        self,
        subject: Subject,
        k: int,
        names: Sequence[str] | None = None,
        scopes: Sequence[Scope] = SCOPES,
        seed: int = 0,
    ) -> None:
        self.subject, self.k, self.seed, self.scopes = subject, k, seed, tuple(scopes)
        self.asked, self.names = names is not None, list(DEFAULT if names is None else names)
        self.reader = extractor(subject.reader)
        self.thinker = subject.thinker
        module = getattr(self.thinker.thinks, "__self__", None)
        self.alone = getattr(module, "unmasked", None) is not None
        if self.alone:
            self.thinker = replace(self.thinker, max_rows=1)
        self.missing: dict[str, str] = {}
        self.ties = 0
        self.donors = Donors(seed, self.reader)
        self._digest = hashlib.blake2b(digest_size=16)
        if self.thinker.builder.kind == "none" or k < 1:
            none = self.thinker.builder.kind == "none"
            raise UserError(
                "this run has no thoughts" if none else f"the number of thoughts is {k}",
                where="lcot probe" if none else "--thoughts",
                why="there is nothing to change",
                fix="give a run with continuous or soft thoughts, or pauses" if none else "use 1 or more",
            )
        for edit in map(edit_of, self.names):
            if k < edit.least:
                self._leave_out(edit.name, f"takes {edit.least} thoughts, and there is 1")

    @property
    def count(self) -> int:
        """Number of questions."""
        return len(self.donors)

    @property
    def data_hash(self) -> str:
        """Of all questions and answers, as in ``test.json``."""
        return self._digest.hexdigest()

    def answers(
        self,
        folder: Path,
        say: Callable[[str], None] = lambda _: None,
        weigh: Callable[[Weighed], None] | None = None,
    ) -> Iterator[Answered]:
        """Carry them out.

        Args:
            folder: Where files may lie meanwhile.
            say: Told a line after each pass.
            weigh: Told of each thought of a question before its answers; nothing is weighed if it is not given.

        Yields:
            For each question first the row of its own thoughts, then one an intervention.

        Raises:
            UserError: If there are fewer than two questions, one cannot be asked, an edit that was asked for applies to
                none of them, or the method's text depends on more than what stands at the places of its thoughts.
        """
        self._survey()
        with ExitStack() as stack:
            self._vectors = stack.enter_context(Shelf(folder / "thoughts.tmp"))
            self._notes = stack.enter_context(Shelf(folder / "answers.tmp"))
            with measuring(self.thinker.model):
                self._think()
            say(f"{self.count:,} questions were thought about and answered")
            wanted = [name for name in self.names if name not in self.missing]
            todo = list(interventions(wanted, self.k, self.scopes, "total" not in self.missing, self._marked))
            at_once = max(1, self.thinker.max_rows // (1 + len(todo)))
            numbers = iter(range(self.count))
            for chunk in chunks(self.subject.examples(), at_once):
                with measuring(self.thinker.model):
                    weighed, answered = self._change(list(islice(numbers, len(chunk))), chunk, todo, weigh is not None)
                for thoughts, rows in zip(weighed, answered, strict=True):
                    for one in thoughts:
                        assert weigh is not None
                        weigh(one)
                    yield from rows

    # -- first pass: words ------------------------------------------------------------------------------------------

    def _survey(self) -> None:
        self.donors, self.ties, self._marked = Donors(self.seed, self.reader), 0, True
        self._digest = hashlib.blake2b(digest_size=16)
        for chunk in chunks(self.subject.examples(), self.thinker.max_rows):
            encoded = self.thinker.builder.encode(chunk)
            texts = [ids for ids, _ in self._golds(chunk, encoded)]
            room = max([self.subject.max_new_tokens, *map(len, texts)])
            self._marked = self.thinker.rows(encoded, self.k, room=room)[0].marked
            for example in chunk:
                self.donors.add(example)
                self._digest.update(json.dumps([example.question, example.answer]).encode() + b"\n")
        if self.count < 2:
            raise UserError(
                f"{'there are no questions' if not self.count else 'there is one question'}",
                where="--data, --limit",
                why="means and donors are those of other questions",
                fix="give at least two",
            )
        if self.k == 1 and not self._marked:
            self._leave_out("hidden", "the text begins at the one thought itself, since no eot stands between them")
        for kind in KINDS:
            if kind in self.names and not self.donors.number(kind):
                self._leave_out(kind, _NO_DONOR[kind])

    def _leave_out(self, name: str, why: str) -> None:
        if name in self.names and self.asked:
            raise UserError(
                f"{name} was asked for, and does not apply", where="--interventions", why=why, fix="leave it out"
            )
        if name in self.names:
            self.missing[name] = why

    # -- second pass: thoughts and answers --------------------------------------------------------------------------

    def _think(self) -> None:
        thinker, total = self.thinker, None
        for chunk in chunks(self.subject.examples(), thinker.max_rows):
            rows = thinker.rows(thinker.builder.encode(chunk), self.k, room=self.subject.max_new_tokens)
            thoughts = thinker.think(rows, keep_cache=True)
            thinking, own = thoughts.thinking, thoughts.inputs.float().cpu()
            states = thinking.state_at(thinking.prompt_ends - 1).float().cpu()
            eos, most = thinker.builder.special.eos, self.subject.max_new_tokens
            written = decode(thinker.model, thinking, max_new_tokens=most, eos=eos)
            for example, vectors, state, ids in zip(chunk, own, states, written, strict=True):
                self._vectors.put_vectors(torch.cat([vectors, state[None]]))
                self._notes.put_plain([self._read(ids)[1], example.answer, ids])
            if total is None:
                self._spoken, self._width = thinking.spoken, own.shape[-1]
                if (why := lacks(thinker, rows, own)) is not None:
                    self.missing["total"] = why
            summed = own.double().sum(dim=0)
            total = summed if total is None else total + summed
        assert total is not None
        self._mean = (total / self.count).float()
        basis = sorted({number * self.count // BASIS for number in range(BASIS)})
        some = torch.stack([self._own(number)[0] for number in basis])
        self._deviations = some - some.mean(dim=0)

    def _own(self, number: int) -> tuple[Tensor, Tensor]:
        """The thoughts ``(k, D)`` of a question, and the state ``(D,)`` before its text."""
        found = self._vectors.take_vectors(number, self._width)
        return found[:-1], found[-1]

    def _read(self, ids: Sequence[int]) -> tuple[str, str | None]:
        """The text of tokens, and the answer in it."""
        builder = self.thinker.builder
        text = str(builder.tokenizer.decode([token for token in ids if token != builder.special.eos]))
        return text, self.reader.extract(text, builder.text.before_answer)

    # -- third pass: changes ----------------------------------------------------------------------------------------

    def _change(
        self,
        numbers: Sequence[int],
        examples: Sequence[ReasoningExample],
        todo: Sequence[Intervention],
        weigh: bool,
    ) -> tuple[list[list[Weighed]], list[list[Answered]]]:
        """All thoughts of some questions, if they are to be weighed, and the answers behind all variants of them."""
        encoded = self.thinker.builder.encode(examples)
        own, states = (torch.stack(part) for part in zip(*map(self._own, numbers), strict=True))
        replay = Replay(self.thinker, self.k, self.subject.max_new_tokens, self._spoken)
        written = [self._notes.take_plain(number)[2] for number in numbers]
        self.ties += sum(not same for same in replay.check(encoded, own, states, written))
        golds = self._golds(examples, encoded)
        named = [(number, example.id) for number, example in zip(numbers, examples, strict=True)]
        weighed = self._weighed(named, replay, encoded, golds, own) if weigh else [[] for _ in numbers]
        donors = [{kind: self.donors.donor(number, kind) for kind in KINDS} for number in numbers]
        applies, vectors = self._variants(numbers, own, donors, todo)
        self._rethink(encoded, vectors, todo)
        hidden = torch.stack([torch.zeros(self.k, dtype=torch.bool), *(one.hidden for one in todo)])
        found: list[list[Said]] = [[] for _ in numbers]
        # As many variants at once as rows may be read, in parts that are alike in size.
        parts = -(-(1 + len(todo)) * len(numbers) // self.thinker.max_rows)
        for own_vectors, own_hidden in zip(vectors.chunk(parts, dim=1), hidden.chunk(parts), strict=True):
            seen = own_hidden.repeat(len(numbers), 1) if own_hidden.any() else None
            said = iter(replay.said(encoded, golds, own_vectors.flatten(0, 1), seen))
            for one in found:
                one += islice(said, own_vectors.shape[1])
        answered = []
        for number, example, givers, fits, (base, *rest) in zip(numbers, examples, donors, applies, found, strict=True):
            rows = [self._answered(number, example, givers, None, base, base)]
            for intervention, follows, fit in zip(todo, rest, fits, strict=True):
                if fit:
                    rows.append(self._answered(number, example, givers, intervention, follows, base))
            answered.append(rows)
        return weighed, answered

    def _weighed(
        self,
        named: Sequence[tuple[int, str]],
        replay: Replay,
        encoded: Sequence[EncodedExample],
        golds: Sequence[tuple[list[int], int | None]],
        own: Tensor,
    ) -> list[list[Weighed]]:
        """What each thought of some questions is worth, without changing it."""
        gradients, shares = replay.gradients(encoded, golds, own).tolist(), [[None] * self.k for _ in named]
        if "attention" not in self.missing:
            try:
                shares = replay.attention(encoded, golds, own).tolist()
            except UserError as err:
                self.missing["attention"] = err.why or err.what
        unit = normalize(own, dim=-1)
        alike = [[None, *row] for row in (unit[:, 1:] * unit[:, :-1]).sum(dim=-1).tolist()]
        moved = ((own - own[:, :1]).norm(dim=-1) / own[:, :1].norm(dim=-1).clamp(min=1e-12)).tolist()
        return [
            [Weighed(number, name, place, *values) for place, values in enumerate(zip(*row, strict=True), start=1)]
            for (number, name), row in zip(named, zip(gradients, shares, alike, moved, strict=True), strict=True)
        ]

    def _variants(
        self, numbers: Sequence[int], own: Tensor, donors: Sequence[Givers], todo: Sequence[Intervention]
    ) -> tuple[list[list[bool]], Tensor]:
        """Which interventions apply to each question; and the thoughts ``(B, 1 + M, k, D)``, its own ones first."""
        applies, vectors = [], []
        edits = {one.edit.name: one.edit for one in todo}
        for number, mine, givers in zip(numbers, own, donors, strict=True):
            pairs = [(kind, giver) for kind, giver in givers.items() if giver is not None]
            given: dict[str, Tensor] = {kind: self._own(giver)[0] for kind, giver in pairs}
            material = Material(number, mine, self._mean, self._deviations, given, self.seed)
            new = {name: edit.new(material) for name, edit in edits.items()}
            made = [new[one.edit.name] for one in todo]
            applies.append([one is not None for one in made])
            both = zip(todo, made, strict=True)
            changed = [mine if other is None else one.vectors(mine, other) for one, other in both]
            vectors.append(torch.stack([mine, *changed]))
        return applies, torch.stack(vectors)

    def _rethink(self, encoded: Sequence[EncodedExample], vectors: Tensor, todo: Sequence[Intervention]) -> None:
        """Put what is thought anew in the place of the thoughts behind changed ones, where that is wanted."""
        wanted = [(1 + place, one) for place, one in enumerate(todo) if one.effect == "total"]
        rows = self.thinker.rows(encoded, self.k)
        for some in chunks(wanted, max(1, self.thinker.max_rows // len(rows))):
            places = [place for place, _ in some]
            first = torch.tensor([(one.thought or 1) - 1 for _, one in some]).repeat(len(rows))
            repeated = [row for row in rows for _ in some]
            anew = rethought(self.thinker, repeated, vectors[:, places].flatten(0, 1), first)
            assert anew is not None, "the method was tried before"
            vectors[:, places] = anew.float().cpu().view(len(rows), len(some), *anew.shape[1:])

    def _golds(
        self, examples: Sequence[ReasoningExample], encoded: Sequence[EncodedExample]
    ) -> list[tuple[list[int], int | None]]:
        """The ids of the right texts behind k thoughts, and the places of the answers' first ones among them."""
        golds = []
        for example, ids in zip(examples, encoded, strict=True):
            row = self.thinker.builder.train(ids, Stage(self.subject.left_out(self.k, len(example.steps)), self.k))
            start = row.places["answer"][0] - row.prompt if "answer" in row.places else None
            golds.append((row.ids[row.prompt :], start))
        return golds

    def _answered(
        self,
        number: int,
        example: ReasoningExample,
        donors: Givers,
        one: Intervention | None,
        said: Said,
        base: Said,
    ) -> Answered:
        before, gold, _ = self._notes.take_plain(number)
        text, answer = self._read(said.tokens)
        name, scope, thought, effect = one.key if one is not None else (UNCHANGED, "all", None, "direct")
        changed = not self._same(answer, before)
        reference: Kind = "other_gold" if donors["pair"] is None else "pair"
        donor = donors[name if name in KINDS else reference]
        theirs, theirs_gold, _ = self._notes.take_plain(donor) if donor is not None else (before, before, None)
        return Answered(
            question=number,
            id=example.id,
            pair=example.pair,
            steps=len(example.steps),
            intervention=name,
            scope=scope,
            thought=thought,
            effect=effect,
            donor=donor,
            text=text,
            answer=answer,
            gold=gold,
            correct=self.reader.equal(answer, gold),
            correct_before=self.reader.equal(before, gold),
            changed=changed,
            to_donor=None if self._same(before, theirs) else self._same(answer, theirs),
            to_donor_gold=None if self._same(before, theirs_gold) else self._same(answer, theirs_gold),
            text_log=said.text,
            answer_log=said.answer,
            text_change=said.text - base.text,
            answer_change=None if said.answer is None or base.answer is None else said.answer - base.answer,
        )

    def _same(self, answer: str | None, other: str | None) -> bool:
        """Whether two answers mean the same, or both texts have none."""
        if answer is None or other is None:
            return answer is other
        return answer == other or self.reader.equal(answer, other)
