"""Values of concepts: on paper, by their definition, in batches of any size, and in bounded memory."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import islice

import pytest
import torch

from lcot.analysis import ConceptValues, Thinker, concept_values
from lcot.analysis.concepts import chosen_rows, name_chances
from lcot.analysis.thinker import measuring
from lcot.datamodules.graphs.text import Style
from lcot.errors import DataError, UserError
from lcot.reasoning.batch import collate
from lcot.reasoning.cache import growing_cache
from lcot.reasoning.curriculum import Markers, ThoughtKind
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.text import TextFormat
from lcot.reasoning.think import think
from tests.analysis.machine import (
    COMPACT,
    OX,
    OX_BEHIND_ITS_FIRST,
    builder_of,
    machine,
    tokenizer_of,
    worked_tokenizer,
)
from tests.analysis.support import PROSE, Watched, counted_rows, naive_chances, naive_value, problems, random_setting
from tests.models import tiny_model
from tests.problems import PROOF, worked

TOKENIZER = worked_tokenizer()
MACHINE = machine(TOKENIZER)


def on_paper(k: int, style: Style = "compact", kind: ThoughtKind = "continuous", **options: object) -> ConceptValues:
    """The values of the worked problem."""
    text = COMPACT if style == "compact" else TextFormat()
    thinker = Thinker(MACHINE, builder_of(TOKENIZER, kind, text))
    (found,) = concept_values(thinker, [worked(style, OX)], k, **options)  # type: ignore[arg-type]
    return found


def values(found: ConceptValues) -> dict[str, float]:
    return {one.name: one.value for one in found.candidates}


class TestOnPaper:
    """A machine whose probabilities are written down."""

    @pytest.mark.parametrize(
        ("k", "depth", "expected"),
        [
            (0, 1, {"lempus": 0.5, "rompus": 0.3}),
            (1, 2, {"lempus": 0.1, "impus": 0.6, "ox": 0.2 * OX_BEHIND_ITS_FIRST}),
            (2, 3, {"impus": 0.05, "wumpus": 0.9}),
            (3, 4, {"wumpus": 0.0}),  # by then all that comes is the end
            (5, 6, {}),
        ],
    )
    def test_the_frontier_after_k_thoughts(self, k: int, depth: int, expected: dict[str, float]) -> None:
        found = on_paper(k)
        assert (found.thoughts, found.hidden, found.depth, found.lead, found.steps) == (k, k, depth, "", 3)
        assert values(found) == pytest.approx(expected, abs=1e-5)
        assert all(one.frontier for one in found.candidates)
        assert found.pending == (k < 3)

    def test_all_nodes(self) -> None:
        found = on_paper(1, scored="all")
        expected = dict.fromkeys(OX[1:], 0.0) | {"lempus": 0.1, "impus": 0.6, "wumpus": 0.1, "ox": 0.08}
        assert values(found) == pytest.approx(expected, abs=1e-5)
        assert {one.name for one in found.candidates if one.frontier} == {"lempus", "impus", "ox"}
        assert [one.name for one in found.frontier()] == ["impus", "lempus", "ox"]

    def test_what_is_said_of_a_candidate(self) -> None:
        dead_end = next(one for one in on_paper(1).candidates if one.name == "ox")
        assert (dead_end.tokens, dead_end.leads, dead_end.height, dead_end.longest) == (3, False, 0, 0)
        assert dead_end.first == pytest.approx(0.2, abs=1e-5)
        detour = next(one for one in on_paper(0).candidates if one.name == "rompus")
        assert (detour.tokens, detour.leads, detour.height, detour.longest) == (1, True, 1, 3)
        assert detour.first == detour.value

    def test_by_distance_no_node_is_met_again(self) -> None:
        assert set(values(on_paper(1, by="distance"))) == {"impus", "ox"}

    def test_prose_forces_every(self) -> None:
        first, second, third = (on_paper(k, "prose") for k in (0, 1, 2))
        assert (first.lead, second.lead, first.depth, second.depth, third.depth) == ("Tom is a", "Every", 1, 1, 2)
        assert values(first) == pytest.approx({"lempus": 0.6, "rompus": 0.2}, abs=1e-5)
        assert values(second) == pytest.approx({"lempus": 0.4, "rompus": 0.2}, abs=1e-5)
        assert values(third) == pytest.approx({"lempus": 0.4, "impus": 0.1, "ox": 0.3 * OX_BEHIND_ITS_FIRST}, abs=1e-5)

    def test_pauses_have_values_too(self) -> None:
        found = on_paper(1, kind="pause")
        assert values(found) == pytest.approx(
            {"lempus": 0.5, "impus": 0.25, "ox": 0.25 * OX_BEHIND_ITS_FIRST}, abs=1e-5
        )

    def test_two_thoughts_a_step(self) -> None:
        found = [on_paper(k, thoughts_per_step=2) for k in (1, 2, 3)]
        assert [(one.hidden, one.depth) for one in found] == [(0, 1), (1, 2), (1, 2)]

    def test_the_number_of_steps_may_be_told(self) -> None:
        found, plain = (on_paper(1, hidden=hidden) for hidden in (0, None))
        assert (found.thoughts, found.hidden, found.depth) == (1, 0, 1)
        assert values(found) == pytest.approx({"lempus": 0.1, "rompus": 0.0}, abs=1e-5)
        assert (plain.hidden, plain.depth) == (1, 2)

    def test_records_are_plain(self) -> None:
        stored = json.loads(json.dumps(dataclasses.asdict(on_paper(1))))
        assert stored["candidates"][0]["name"] == "lempus"


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
@pytest.mark.parametrize(
    ("style", "kind", "markers"),
    [
        ("compact", "continuous", "never"),
        ("prose", "continuous", "always"),
        ("prose", "pause", "always"),
        ("symbolic", "continuous", "with_thoughts"),
    ],
)
def test_every_value_is_that_of_the_definition(
    architecture: str, style: Style, kind: ThoughtKind, markers: Markers
) -> None:
    model, tokenizer = random_setting(style, architecture)
    builder = builder_of(tokenizer, kind, PROSE if style == "prose" else COMPACT, markers)
    examples = problems(style, 3)
    thinker = Thinker(model, builder, max_rows=4)
    lengths = set()
    for k in (0, 2):
        for example, found in zip(examples, concept_values(thinker, examples, k, scored="all"), strict=True):
            for one in found.candidates:
                name = one.name if not found.lead else f" {one.name}"
                chances = naive_chances(model, builder, example, k, found.lead, name)
                assert one.tokens == len(chances)
                assert one.first == pytest.approx(chances[0], rel=1e-4, abs=0)
                assert one.value == pytest.approx(naive_value(chances), rel=1e-3, abs=0)
                lengths.add(one.tokens)
    assert {1, 8} <= lengths or {1, 7} <= lengths  # words, and names that are spelled


@pytest.mark.parametrize("style", ["compact", "prose"])
def test_first_tokens_add_up_to_at_most_one(style: Style) -> None:
    model, tokenizer = random_setting(style)
    with torch.no_grad():  # sharp predictions, whose sums come close to 1
        model.get_output_embeddings().weight *= 4  # type: ignore[no-untyped-call]
    builder = builder_of(tokenizer, text=PROSE if style == "prose" else COMPACT, markers="always")
    for k in (0, 1, 3):
        for found in concept_values(Thinker(model, builder), problems(style, 6), k, scored="all"):
            words = [one for one in found.candidates if one.tokens == 1]
            spelled = [one for one in found.candidates if one.tokens > 1]
            shared = max((one.first for one in spelled), default=0.0)  # all begin with the same token
            assert sum(one.first for one in words) + shared <= 1
            assert sum(one.value for one in found.candidates) <= 1
            assert all(one.value <= one.first for one in found.candidates)


class TestBatches:
    """Results do not depend on how many rows are read at once; memory does."""

    @pytest.mark.parametrize("style", ["compact", "prose"])
    def test_batched_equals_one_by_one(self, style: Style) -> None:
        model, tokenizer = random_setting(style, "gpt2")
        builder = builder_of(tokenizer, text=PROSE if style == "prose" else COMPACT)
        examples = problems(style, 7)
        alone = list(concept_values(Thinker(model, builder, max_rows=1), examples, 2, scored="all"))
        for max_rows in (3, 64):
            together = list(concept_values(Thinker(model, builder, max_rows=max_rows), examples, 2, scored="all"))
            for one, other in zip(alone, together, strict=True):
                assert (one.id, one.lead, one.depth) == (other.id, other.lead, other.depth)
                for mine, theirs in zip(one.candidates, other.candidates, strict=True):
                    assert mine.node == theirs.node
                    assert mine.value == pytest.approx(theirs.value, rel=1e-4, abs=0)
                    assert mine.first == pytest.approx(theirs.first, rel=1e-4, abs=0)

    @pytest.mark.parametrize("max_rows", [1, 3, 5])
    def test_no_pass_has_more_rows_than_allowed(self, max_rows: int) -> None:
        model, tokenizer = random_setting("compact")
        thinker = Thinker(model, builder_of(tokenizer), max_rows=max_rows)
        with counted_rows(model) as rows:
            assert len(list(concept_values(thinker, problems("compact", 7), 2, scored="all"))) == 7
        assert max(rows) == max_rows

    def test_examples_are_read_as_they_are_needed(self) -> None:
        model, tokenizer = random_setting("compact")
        endless = Watched(problems("compact", 3))
        thinker = Thinker(model, builder_of(tokenizer), max_rows=4)
        assert len(list(islice(concept_values(thinker, endless, 1), 5))) == 5
        assert endless.taken == 8

    def test_one_token_names_take_no_further_pass(self) -> None:
        thinker = Thinker(MACHINE, builder_of(TOKENIZER))
        with counted_rows(MACHINE) as rows:
            list(concept_values(thinker, [worked("compact", OX)], 0))
        assert rows == [1]

    def test_no_question_no_value(self) -> None:
        assert list(concept_values(Thinker(MACHINE, builder_of(TOKENIZER)), [], 1)) == []


def test_the_cache_is_left_as_it_is() -> None:
    model, tokenizer = random_setting("compact")
    builder = builder_of(tokenizer)
    thinker = Thinker(model, builder)
    encoded = builder.encode(problems("compact", 2))
    with measuring(model):
        thinking = thinker.think(thinker.rows(encoded, 1), keep_cache=True).thinking
        names = [[[30, 31], [32]], [[33, 34, 35]]]
        once, again = (name_chances(thinker, thinking, names) for _ in range(2))
    assert once == again
    assert [len(group) for group in once] == [2, 1]
    assert thinking.cache is not None and thinking.cache.get_seq_length() == thinking.attention_mask.shape[1]


def test_rows_of_a_cache_in_any_order() -> None:
    cache = growing_cache(MACHINE.config, 3)
    keys = torch.arange(12.0).view(2, 2, 3, 1).expand(2, 2, 3, 2)
    cache.update(keys, keys + 100, 0)
    made = chosen_rows(cache, torch.tensor([1, 0, 1]), 4)
    found, _ = made.update(torch.zeros(3, 2, 1, 2), torch.zeros(3, 2, 1, 2), 0)
    assert torch.equal(found[:, :, :3], keys[[1, 0, 1]])
    assert cache.get_seq_length() == 3


class TestRefusals:
    """What cannot be measured."""

    def test_no_graph(self) -> None:
        plain = ReasoningExample("1 + 1?", ("1 + 1 = 2",), "2", "sum")
        with pytest.raises(DataError, match="carries no graph"):
            next(concept_values(Thinker(MACHINE, builder_of(TOKENIZER)), [plain], 0))

    def test_more_thoughts_than_the_context_takes(self) -> None:
        builder = builder_of(TOKENIZER)
        question = len(builder.encode([worked("compact", OX)])[0].question)
        thinker = Thinker(machine(TOKENIZER, positions=question + 4), builder)
        # The spelled name needs two further positions.
        assert next(concept_values(thinker, [worked("compact", OX)], 2, scored="all")).thoughts == 2
        with pytest.raises(UserError) as refusal:
            next(concept_values(thinker, [worked("compact", OX)], 3, scored="all"))
        assert refusal.value.fix == "use at most 2"

    def test_settings(self) -> None:
        with pytest.raises(UserError, match="unknown scored 'some'"):
            on_paper(0, scored="some")
        with pytest.raises(UserError, match="unknown by 'luck'"):
            on_paper(0, by="luck")
        with pytest.raises(UserError, match="thoughts_per_step is 0"):
            on_paper(0, thoughts_per_step=0)


def test_a_proof_is_scored_with_its_article() -> None:
    tokenizer = tokenizer_of([PROOF.question, *PROOF.steps, "a "])
    builder = builder_of(tokenizer, text=PROSE)
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    model = tiny_model(vocab_size=len(tokenizer), **ids)
    (found,) = concept_values(Thinker(model, builder), [PROOF], 1, scored="all")
    assert (found.lead, found.depth, found.steps) == ("Max is", 2, 4)
    assert {one.name for one in found.candidates if one.frontier} == {"jompus"}
    put = {"impus": " an impus", "jompus": " a jompus", "hot": " hot", "not hot": " not hot"}
    checked = [one for one in found.candidates if one.name in put]
    assert len(checked) == 4
    for one in checked:
        chances = naive_chances(model, builder, PROOF, 1, "Max is", put[one.name])
        assert one.value == pytest.approx(naive_value(chances), rel=1e-3, abs=0)


def test_names_go_on_at_the_positions_that_texts_go_on_at() -> None:
    """By the definition: the whole row is read again, with the positions of the name given (model.unmasked has own)."""
    model = tiny_model("llama")
    row, name = Layout([3, 4, 8, 9], [IGNORE] * 4, head=4, thoughts=0, prompt=4), [5, 6, 7]
    batch = collate([row], 0)
    thinker = Thinker(model, builder_of(TOKENIZER))
    with torch.no_grad():
        thinking = think(model, batch, keep_cache=True)
        for shift in (0, 4):
            start = thinking.next_positions() + shift
            ids = torch.tensor([[*row.ids, *name]])
            positions = torch.cat([batch.position_ids, start[:, None] + torch.arange(len(name))], dim=1)
            chances = model(input_ids=ids, position_ids=positions).logits[0].double().softmax(dim=-1)
            expected = math.prod(float(chances[len(row.ids) - 1 + at, token]) for at, token in enumerate(name))
            ((found,),) = name_chances(thinker, dataclasses.replace(thinking, continues_at=start), [[name]])
            assert found[1] == pytest.approx(expected, rel=1e-4)
