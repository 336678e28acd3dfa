"""Thoughts read through the output head: on the machine every probability is known."""

from __future__ import annotations

import dataclasses
import json
from itertools import islice

import pytest

from lcot.analysis import Thinker, ThoughtLens, intermediate_results, thought_lenses
from lcot.analysis.lens import Result
from lcot.analysis.thinker import measuring
from lcot.datamodules.multiplication import render
from lcot.errors import UserError
from lcot.reasoning.example import ReasoningExample
from tests.analysis.machine import OX, S0, S1, S4, builder_of, machine, tokenizer_of, worked_tokenizer
from tests.analysis.support import Watched, counted_rows, problems, random_setting
from tests.oracle import cut, naive_thoughts
from tests.problems import worked

TOKENIZER = worked_tokenizer()
IDS = TOKENIZER.get_vocab()


def lenses(k: int, kind: str = "continuous", **options: int) -> list[ThoughtLens]:
    thinker = Thinker(machine(TOKENIZER), builder_of(TOKENIZER, kind))  # type: ignore[arg-type]
    return list(thought_lenses(thinker, [worked("compact", OX)], k, **options))


class TestOnPaper:
    """The machine's thoughts."""

    def test_the_most_probable_tokens(self) -> None:
        first, second = lenses(2, top=3, nearest=1)
        assert [(one.id, one.thoughts, one.thought) for one in (first, second)] == [("worked", 2, 1), ("worked", 2, 2)]
        assert [token.token for token in first.top[:2]] == ["lempus", "rompus"]
        assert [token.probability for token in first.top] == pytest.approx([0.5, 0.3, 0.1], abs=1e-5)
        assert [token.id for token in second.top[:2]] == [IDS["▁impus"], IDS["▁"]]
        assert [token.probability for token in second.top] == pytest.approx([0.6, 0.2, 0.1], abs=1e-5)

    def test_the_nearest_words(self) -> None:
        first, second = lenses(2, nearest=2)
        assert [first.nearest[0].id, second.nearest[0].id] == [IDS[S0], IDS[S1]]
        assert first.nearest[0].cosine == pytest.approx(1.0)
        assert first.nearest[1].cosine == pytest.approx(0.0, abs=1e-5)

    def test_pauses_are_read_by_their_states(self) -> None:
        (only,) = lenses(1, "pause", top=1)
        assert only.top[0].token == "lempus"
        assert only.top[0].probability == pytest.approx(0.5, abs=1e-5)
        assert only.nearest[0].id == IDS[S4]

    def test_without_thoughts_there_is_nothing(self) -> None:
        assert lenses(0) == []
        assert lenses(0, "none") == []

    def test_records_are_plain(self) -> None:
        stored = json.loads(json.dumps([dataclasses.asdict(one) for one in lenses(1)]))
        assert stored[0]["results"] == [] and len(stored[0]["top"]) == 5


def test_against_the_definition_in_batches_of_any_size() -> None:
    model, tokenizer = random_setting("compact", "gpt2")
    builder = builder_of(tokenizer, markers="always")
    examples = problems("compact", 5)
    alone, together = (list(thought_lenses(Thinker(model, builder, max_rows=n), examples, 3)) for n in (1, 64))
    with measuring(model):
        head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
        for number, example in enumerate(examples):
            row = builder.prompt(builder.encode([example])[0], 3)
            thoughts = naive_thoughts(model, cut(row))[0, row.head :]
            for place, chances in enumerate(head(thoughts).softmax(dim=-1)):
                for found in (alone[3 * number + place], together[3 * number + place]):
                    assert (found.id, found.thought) == (example.id, place + 1)
                    best = chances.topk(5)
                    assert [token.id for token in found.top] == best.indices.tolist()
                    assert [token.probability for token in found.top] == pytest.approx(best.values.tolist(), rel=1e-3)


def test_memory_is_bounded() -> None:
    model, tokenizer = random_setting("compact")
    thinker = Thinker(model, builder_of(tokenizer), max_rows=3)
    endless = Watched(problems("compact", 2))
    heads: list[int] = []
    hook = model.get_output_embeddings().register_forward_pre_hook(  # type: ignore[no-untyped-call]
        lambda module, args: heads.append(len(args[0]))
    )
    with counted_rows(model) as rows:
        assert len(list(islice(thought_lenses(thinker, endless, 4), 13))) == 13
    hook.remove()
    assert endless.taken == 6  # twelve thoughts of three questions, and the next three
    assert max(rows) == 3 and max(heads) == 3


class TestResults:
    """Intermediate results of arithmetic."""

    @pytest.mark.parametrize(
        ("steps", "expected"),
        [
            (("<<16-3-4=9>>", "<<9*2=18>>"), [(1, "9"), (2, "18")]),
            (("<<.5*2=1>>", "<<1000*1.5=1,500>>"), [(1, "1"), (2, "1,500")]),
            (("<<2-5=-3>>",), [(1, "-3")]),
            (("<<1/2=.5>>",), [(1, ".5")]),
            (("He pays 3 * $4 = $12 for them.", "So he is happy.", "x = 6 + 7 = 13"), [(1, "12"), (3, "13")]),
            (("6 = 6, so 6 + 7 = 13.",), [(1, "13")]),
            ((), []),
        ],
    )
    def test_of_equations(self, steps: tuple[str, ...], expected: list[tuple[int, str]]) -> None:
        found = intermediate_results(ReasoningExample("?", steps, "1", "x"))
        assert found == tuple(Result("equation", step, text) for step, text in expected)

    def test_of_a_product(self) -> None:
        # 12 · 345 = 60 + 480 + 3600: reversed digits, the sum so far in parentheses
        example = render(12, 345, (2, 3), example_id="x")
        assert example.steps == ("0 6 0", "+ 0 8 4 0 ( 0 4 5 0 )", "+ 0 0 6 3 0")
        assert intermediate_results(example) == (
            Result("partial_product", 1, "0 6 0"),
            Result("partial_product", 2, "0 8 4 0"),
            Result("running_sum", 2, "0 4 5 0"),
            Result("partial_product", 3, "0 0 6 3 0"),
        )

    def test_what_the_lens_shows_of_them(self) -> None:
        tokenizer = tokenizer_of(["What is it? 9 7", "<<16-3-4=9>> <<9*2=18>> "])
        chances = {
            S0: {"▁9": 0.6, "▁7": 0.3, "▁": 0.1},
            S1: {"▁": 0.7, "▁9": 0.2, "▁18": 0.1},
        }
        model = machine(tokenizer, chances, {"▁it": S0, S0: S1})
        example = ReasoningExample("What is it", ("<<16-3-4=9>>", "<<9*2=18>>", "<<18*9=162>>"), "162", "sum")
        found = list(thought_lenses(Thinker(model, builder_of(tokenizer)), [example], 2))
        first, second = ({shown.text: shown for shown in one.results} for one in found)
        assert (first["9"].whole, first["9"].rank, first["9"].kind, first["9"].step) == (True, 1, "equation", 1)
        assert first["9"].probability == pytest.approx(0.6, abs=1e-5)
        assert (second["9"].rank, second["18"].rank, second["18"].whole) == (2, 3, True)
        assert second["18"].probability == pytest.approx(0.1, abs=1e-5)
        assert "162" not in first  # spelled in bytes, and its first token says nothing of it

    def test_a_result_of_several_tokens_is_looked_for_by_its_first(self) -> None:
        example = render(12, 345, (2, 3), example_id="x")
        tokenizer = tokenizer_of([example.question, *example.steps, "0 1 2 3 4 5 6 7 8 9"])
        model = machine(tokenizer, {S0: {"▁0": 0.75, "▁4": 0.25}}, {"▁3": S0})
        (found,) = thought_lenses(Thinker(model, builder_of(tokenizer)), [example], 1)
        assert [(shown.kind, shown.whole, shown.rank) for shown in found.results] == [
            ("partial_product", False, 1),
            ("partial_product", False, 1),
            ("running_sum", False, 1),
            ("partial_product", False, 1),
        ]
        assert found.results[0].probability == pytest.approx(0.75, abs=1e-5)


def test_more_thoughts_than_there_can_be() -> None:
    with pytest.raises(UserError, match="this model has none"):
        lenses(1, "none")
