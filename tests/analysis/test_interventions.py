"""Interventions on a model that can be worked out on paper, and against the definition on random ones.

Letters in shapes: k thoughts, D hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lcot.analysis import Thinker
from lcot.analysis.donors import KINDS, Donors
from lcot.analysis.edits import DEFAULT, Intervention, Material, Scope, interventions
from lcot.analysis.effects import Answered
from lcot.analysis.interventions import Interventions
from lcot.analysis.subject import Subject
from lcot.analysis.thinker import measuring
from lcot.datamodules.rows import ListSource
from lcot.errors import UserError
from lcot.metrics.extractors import extractor
from lcot.modules import Backbone, Coconut
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.curriculum import Markers, ThoughtKind
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.think import Thinking, think
from lcot.reasoning.tokens import EOT
from lcot.reasoning.unmasked import Unmasked
from lcot.runs.record import data_hash
from tests.analysis.machine import STATES, builder_of, machine, tokenizer_of
from tests.analysis.support import (
    counted_rows,
    naive_log_probability,
    naive_rethought,
    naive_text,
    problems,
    random_setting,
)
from tests.models import ARCHITECTURES
from tests.oracle import cut, naive_thoughts

K = 3
NAMES = {"▁Tom": "7", "▁Max": "8", "▁Ann": "9"}
"""Who is asked about, and the right answer."""

Key = tuple[str, Scope, int | None, str]


def subject(thinker: Thinker, examples: Sequence[ReasoningExample], **changes: Any) -> Subject:
    plain: dict[str, Any] = {"hidden": lambda k: k, "max_new_tokens": 3, "reader": "last_number"}
    return Subject(thinker, lambda: iter(examples), (K,), **{**plain, **changes})


def answers(folder: Path, asked: Subject, k: int = K, **options: Any) -> dict[Key, list[Answered]]:
    """The answers of all questions, by intervention."""
    found: dict[Key, list[Answered]] = {}
    for one in Interventions(asked, k, **options).answers(folder):
        found.setdefault((one.intervention, one.scope, one.thought, one.effect), []).append(one)
    assert list(folder.iterdir()) == []
    return found


class TestMachine:
    """Reading a name leads to the first state of its chain, each state to the next, and the last one to its answer."""

    @staticmethod
    def asked(markers: Markers) -> Subject:
        tokenizer = tokenizer_of(["Tom 7 Max 8 Ann 9 Who is it? Is this who? "])
        chains = {"▁Tom": STATES[:3], "▁Max": STATES[3:6], "▁Ann": (*STATES[6:8], "▁is")}
        moves: dict[str, str] = {}
        chances = {EOT: {"▁7": 1.0}}
        for name, chain in chains.items():
            moves |= dict(zip((name, *chain), chain, strict=False))
            chances[chain[-1]] = {f"▁{NAMES[name]}": 1.0}
        thinker = Thinker(machine(tokenizer, chances, moves), builder_of(tokenizer, markers=markers))
        pairs = ("Tom or Max", "Tom or Max", "Ann")
        examples = [
            ReasoningExample(f"{words} {name.removeprefix('▁')}", (), NAMES[name], f"{words} {name}", pair=words + pair)
            for name, pair in zip(NAMES, pairs, strict=True)
            for words in ("Who is it?", "Is this who?")
        ]
        return subject(thinker, examples)

    def test_the_answer_depends_on_the_third_thought(self, tmp_path: Path) -> None:
        """The text begins at the third thought, and the machine's attention writes nothing."""
        found = answers(tmp_path, self.asked("never"))
        assert all(one.correct for one in found["none", "all", None, "direct"])
        for (name, scope, thought, effect), rows in found.items():
            reaches = scope == "all" or thought == 3 or scope == "from" or effect == "total"
            changed = [one.changed for one in rows]
            if name in ("zero", "reverse", "first"):  # what leads to no answer
                assert changed == [reaches] * 6
            elif name in ("other_gold", "pair"):  # all of the donor's, and nobody else's
                theirs = [[one.to_donor, one.to_donor_gold] for one in rows]
                assert changed == [reaches] * len(rows) and theirs == [[reaches, reaches]] * len(rows)
                assert len(rows) == 6 if name == "other_gold" else [one.donor for one in rows] == [2, 3, 0, 1]
            elif name in ("same_gold", "hidden", "none", "scaled=2", "scaled=0.5"):
                assert changed == [False] * 6  # another question about the same; what nobody looks at; its direction
            elif name == "mean" and effect == "direct":  # each answer is as likely as the others: the first one
                assert changed == [reaches and one.gold != "7" for one in rows]
            else:
                assert name in ("mean", "noise", "covariance", "shuffle") and (reaches or not any(changed))
        assert {key for key in found if key[3] == "total"} == {
            (name, "one", thought, "total")
            for name in ("zero", "mean", "noise", "covariance", *KINDS, "scaled=0.5", "scaled=2")
            for thought in (1, 2)
        }

    def test_the_answer_depends_on_none(self, tmp_path: Path) -> None:
        """The text begins at eot, which leads to the same answer whatever stands before it."""
        found = answers(tmp_path, self.asked("always"))
        assert len(found) > 50
        for rows in found.values():
            assert {one.text for one in rows} == {"7"} and not any(one.changed for one in rows)
            assert [one.correct for one in rows] == [True, True, *[False] * 4][: len(rows)]
            assert {one.to_donor for one in rows} == {None}  # all are answered alike
            assert [one.text_change for one in rows] == pytest.approx([0.0] * len(rows), abs=1e-4)


def random_subject(
    kind: ThoughtKind = "continuous", markers: Markers = "always", max_rows: int = 64, count: int = 5
) -> Subject:
    model, tokenizer = random_setting("compact")
    # Questions of one group each way: numbers of steps and answers that several share.
    examples = [
        replace(example, answer=("lempus", "rompus")[number % 2], steps=example.steps[:2], pair=f"pair {number // 2}")
        for number, example in enumerate(problems("compact", count))
    ]
    thinker = Thinker(model, builder_of(tokenizer, kind, markers=markers), max_rows=max_rows)
    return subject(thinker, examples, reader="string", left_out=lambda k, steps: 1)


@pytest.mark.parametrize("markers", ["always", "never"])
def test_all_interventions_are_those_of_the_definition(markers: Markers, tmp_path: Path) -> None:
    asked = random_subject(markers=markers, count=4)
    thinker, examples = asked.thinker, list(asked.examples())
    model, builder = thinker.model, thinker.builder
    encoded, eos = builder.encode(examples), builder.special.eos
    rows, golds = thinker.rows(encoded, K), [[*one.steps[1], *one.answer] for one in encoded]
    donors = Donors(7, extractor("string"))
    for example in examples:
        donors.add(example)
    with measuring(model):
        own = torch.stack([naive_thoughts(model, cut(row))[0, row.head :] for row in rows])
        mean = own.mean(dim=0)

        def vectors(number: int, one: Intervention) -> Tensor:
            givers = {kind: donors.donor(number, kind) for kind in KINDS}
            given: dict[str, Tensor] = {kind: own[giver] for kind, giver in givers.items() if giver is not None}
            new = one.edit.new(Material(number, own[number], mean, own - mean, given, 7))
            assert new is not None
            made = own[number].clone()
            for place in one.places.nonzero()[:, 0].tolist():
                made[place] = new[place]
            if one.effect == "total":
                changed = (one.thought or 0) - 1
                made = naive_rethought(model, rows[number], None, changed, made[changed], K)
            return made

        found = answers(tmp_path, asked, seed=7)
        todo = list(interventions(DEFAULT, K, total=True, marked=markers == "always"))
        assert [key for key in found if key[0] != "none"] == [one.key for one in todo] and len(todo) > 60
        for one in todo:
            for number, answered in enumerate(found[one.key]):
                changed, unseen = vectors(number, one), one.hidden.nonzero()[:, 0].tolist()
                written = naive_text(model, rows[number], changed, 3, eos, unseen)
                assert answered.text == builder.tokenizer.decode([token for token in written if token != eos])
                log = naive_log_probability(model, rows[number], changed, golds[number], 0, unseen)
                before = naive_log_probability(model, rows[number], own[number], golds[number], 0)
                assert answered.text_log == pytest.approx(log, abs=1e-3)
                assert answered.text_change == pytest.approx(log - before, abs=1e-3)


@pytest.mark.parametrize("kind", ["continuous", "pause"])
def test_batched_is_one_by_one(kind: ThoughtKind, tmp_path: Path) -> None:
    found = []
    for max_rows in (1, 7, 64, 1000):
        asked = random_subject(kind, max_rows=max_rows)
        with counted_rows(asked.thinker.model) as passes:
            found.append(answers(tmp_path, asked))
        assert max(passes) <= max_rows
    for key, rows in found[0].items():
        for other in found[1:]:
            for one, same in zip(rows, other[key], strict=True):
                assert replace(one, text_log=0, answer_log=0, text_change=0, answer_change=0) == replace(
                    same, text_log=0, answer_log=0, text_change=0, answer_change=0
                )
                assert one.text_log == pytest.approx(same.text_log, abs=1e-3)
                assert one.answer_change == pytest.approx(same.answer_change, abs=1e-3)


def test_pauses_hold_nothing_of_a_question(tmp_path: Path) -> None:
    """Their vectors are the same for all; what they are worth is in what they read."""
    found = answers(tmp_path, random_subject("pause"), scopes=["all"])
    for name in ("mean", "other_gold", "same_gold", "reverse", "shuffle", "first"):
        assert not any(one.changed for one in found[name, "all", None, "direct"])
        assert [one.text_change for one in found[name, "all", None, "direct"]] == pytest.approx([0.0] * 5, abs=1e-3)
    assert max(abs(one.text_change) for one in found["hidden", "all", None, "direct"]) > 0.1


def test_questions_are_counted_and_hashed(tmp_path: Path) -> None:
    asked = random_subject()
    made = Interventions(asked, K)
    said: list[str] = []
    list(made.answers(tmp_path, said.append))
    assert (made.count, made.data_hash, made.ties) == (5, data_hash(ListSource(asked.examples())), 0)
    assert said == ["5 questions were thought about and answered"] and made.missing == {}


def test_padding_is_not_looked_at_where_a_run_did(tmp_path: Path) -> None:
    """Alone, a question has none: the method's own way and the right one are the same."""
    asked = random_subject()
    module = Coconut(Backbone(config={"model_type": "llama", **ARCHITECTURES["llama"]}), unmasked=Unmasked("ordinary"))
    module.model = asked.thinker.model
    module.eval()
    looking = replace(asked, thinker=Thinker.by(module, asked.thinker.builder))
    with counted_rows(asked.thinker.model) as passes:
        found = answers(tmp_path, looking, names=["zero", "other_gold"])
    expected = answers(tmp_path, asked, names=["zero", "other_gold"])
    assert {key: [one.text for one in rows] for key, rows in found.items()} == {
        key: [one.text for one in rows] for key, rows in expected.items()
    }
    assert max(passes) == 1


class TestRefused:
    """In one block, before anything is thought where it can be."""

    @staticmethod
    def block(folder: Path, asked: Subject, k: int = K, **options: Any) -> str:
        with pytest.raises(UserError) as err, counted_rows(asked.thinker.model) as passes:
            list(Interventions(asked, k, **options).answers(folder))
        assert passes == [] and list(folder.iterdir()) == []
        return str(err.value)

    def test_no_thoughts(self, tmp_path: Path) -> None:
        assert "this run has no thoughts" in self.block(tmp_path, random_subject("none"))
        assert "the number of thoughts is 0" in self.block(tmp_path, random_subject(), k=0)

    def test_too_many_thoughts(self, tmp_path: Path) -> None:
        assert "500 thoughts need" in self.block(tmp_path, random_subject(), k=500)

    def test_too_few_questions(self, tmp_path: Path) -> None:
        assert "there is one question" in self.block(tmp_path, random_subject(count=1))
        assert "there are no questions" in self.block(tmp_path, random_subject(count=0))

    def test_nobody_to_swap_with(self, tmp_path: Path) -> None:
        asked = random_subject(count=2)  # of two answers
        block = self.block(tmp_path, asked, names=["same_gold"])
        assert "same_gold was asked for, and does not apply" in block
        assert "no two questions with as many steps have the same answer" in block
        made = Interventions(asked, K)
        keys = {one.intervention for one in made.answers(tmp_path)}
        assert "same_gold" not in keys and "other_gold" in keys
        assert made.missing == {"same_gold": "no two questions with as many steps have the same answer"}

    def test_orders_of_one_thought(self, tmp_path: Path) -> None:
        assert "reverse was asked for, and does not apply" in self.block(
            tmp_path, random_subject(), k=1, names=["reverse"]
        )
        made = Interventions(random_subject(markers="never"), 1)
        list(made.answers(tmp_path))
        assert made.missing.keys() == {"reverse", "shuffle", "first", "hidden", "total"}

    def test_an_intervention_that_is_none(self, tmp_path: Path) -> None:
        assert "did you mean 'zero'?" in self.block(tmp_path, random_subject(), names=["zeros"])

    def test_a_method_whose_text_depends_on_more(self, tmp_path: Path) -> None:
        asked = random_subject()

        def thinks(batch: ThoughtBatch, *, keep_cache: bool = False) -> Thinking:
            thinking = think(asked.thinker.model, batch, keep_cache=keep_cache)
            assert thinking.fed is not None
            return replace(thinking, fed=thinking.fed.flip(1))

        method = replace(asked, thinker=replace(asked.thinker, thinks=thinks))
        with pytest.raises(UserError, match="not answered as it was"):
            list(Interventions(method, K).answers(tmp_path))
        assert list(tmp_path.iterdir()) == []


def test_a_reader_that_stops_leaves_nothing(tmp_path: Path) -> None:
    found: Iterator[Answered] = Interventions(random_subject(), K).answers(tmp_path)
    next(found)
    assert len(list(tmp_path.iterdir())) == 2
    close: Callable[[], None] = found.close  # type: ignore[attr-defined]
    close()
    assert list(tmp_path.iterdir()) == []
