"""ProsQA's text: both surfaces worked by hand, in characters and in tokens."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from lcot.datamodules.graphs.generator import CONCEPTS, ENTITIES, GraphSpec, Problem
from lcot.datamodules.graphs.splits import generate
from lcot.datamodules.graphs.text import Style, draw_names, render, surface_texts
from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.errors import UserError
from tests.places import SHARED

PUBLISHED = SHARED / "prosqa" / "prosqa_valid.json"
SMALL = GraphSpec(nodes=(10, 10), hops=(2, 3), symbols=16)


def test_names_are_few_and_fit_their_nodes() -> None:
    assert (len(ENTITIES), len(CONCEPTS)) == (17, 38)
    assert (len(SMALL.entity_names), len(SMALL.concept_names)) == (5, 11)
    rng = random.Random(4)
    for problem in generate(SMALL, 0, "train", 50):
        names = draw_names(SMALL, problem, rng)
        assert len(set(names)) == problem.num_nodes
        assert {node for node, name in enumerate(names) if name in SMALL.entity_names} == problem.entities
        assert set(names) <= {*SMALL.entity_names, *SMALL.concept_names}


class InOrder(random.Random):
    """Shuffles nothing and flips no options."""

    def shuffle(self, x: Any) -> None:
        """Leave the list as it is."""

    def random(self) -> float:
        """Heads."""
        return 0.9


# 0 → 2 → 4 → 5, 1 → 3, 0 → 3 and the parentless 6 → 4: three entities, and a detour 2 → 3 that shortest paths avoid.
WORKED = Problem(((0, 2), (0, 3), (1, 3), (1, 6), (2, 4), (4, 5), (7, 4)), 8, 0, 5, 6)
NAMES = ("Tom", "Alex", "lempus", "rompus", "impus", "wumpus", "yumpus", "Eva")


def test_prose_worked_by_hand() -> None:
    example = render(WORKED, NAMES, InOrder(), "prose", example_id="one")
    assert example.question == (
        "Tom is a lempus. Tom is a rompus. Alex is a rompus. Alex is a yumpus. Every lempus is a impus. "
        "Every impus is a wumpus. Eva is a impus. Is Tom a wumpus or yumpus?"
    )
    assert example.steps == ("Tom is a lempus.", "Every lempus is a impus.", "Every impus is a wumpus.")
    assert example.answer == "Tom is a wumpus."
    assert example.id == "one"
    assert example.facts == {
        "idx_to_symbol": list(NAMES),
        "edges": [[0, 2], [0, 3], [1, 3], [1, 6], [2, 4], [4, 5], [7, 4]],
        "root": 0,
        "target": 5,
        "neg_target": 6,
    }
    assert json.loads(json.dumps(example.facts)) == example.facts


def test_compact_worked_by_hand_and_in_tokens() -> None:
    example = render(WORKED, NAMES, InOrder(), "compact", example_id="one")
    assert example.question == (
        "Tom lempus. Tom rompus. Alex rompus. Alex yumpus. lempus impus. impus wumpus. Eva impus. wumpus or yumpus? Tom"
    )
    assert (example.steps, example.answer) == (("lempus", "impus", "wumpus"), "wumpus")
    tokenizer = build_word_tokenizer(surface_texts(GraphSpec.published(), "compact"))
    ids = tokenizer.encode(example.question)
    assert len(ids) == 3 * len(WORKED.edges) + 5
    lempus = ids[1]
    assert [place for place, token in enumerate(ids) if token == lempus] == [1, 12]
    assert [len(tokenizer.encode(step)) for step in example.steps] == [1, 1, 1]
    assert tokenizer.encode("lempus.\n")[0] == tokenizer.encode("### lempus")[1] == lempus


def test_symbolic_worked_by_hand_and_in_tokens() -> None:
    """Three tokens an edge, one each for [Q], both options, [R], the root and each step, as in arXiv 2505.12514."""
    example = render(WORKED, NAMES, InOrder(), "symbolic", example_id="one")
    assert example.question == (
        "Tom lempus| Tom rompus| Alex rompus| Alex yumpus| lempus impus| impus wumpus| Eva impus| ? wumpus yumpus: Tom"
    )
    assert (example.steps, example.answer) == (("lempus", "impus", "wumpus"), "wumpus")
    tokenizer = build_word_tokenizer(surface_texts(GraphSpec.published(), "symbolic"))
    ids = tokenizer.encode(example.question)
    assert len(ids) == 3 * len(WORKED.edges) + 5
    bar, asks, roots = (tokenizer.get_vocab()[mark] for mark in ("| ", "? ", ": "))
    assert [place for place, token in enumerate(ids) if token == bar] == [3 * edge + 2 for edge in range(7)]
    assert (ids[21], ids[24]) == (asks, roots)
    assert [len(tokenizer.encode(step)) for step in example.steps] == [1, 1, 1]
    assert len(tokenizer.encode("= wumpus")) == 2


def test_the_frontier_worked_by_hand() -> None:
    """From Tom: lempus and rompus are one step away, impus two, wumpus three; yumpus and the other persons never."""
    plain = render(WORKED, NAMES, InOrder(), "symbolic", example_id="one")
    example = render(WORKED, NAMES, InOrder(), "symbolic", example_id="one", frontier=True)
    assert example == replace(plain, alternatives=(("lempus", "rompus"), ("impus",), ("wumpus",)))
    prose = render(WORKED, NAMES, InOrder(), "prose", example_id="one", frontier=True)
    assert prose.alternatives[0] == ("Tom is a lempus.", "Tom is a rompus.")
    assert prose.alternatives[1:] == (prose.steps[1:2], prose.steps[2:3])


@pytest.mark.parametrize("style", ["prose", "compact", "symbolic"])
def test_the_written_step_is_one_of_its_alternatives(style: Style) -> None:
    rng = random.Random(2)
    several = 0
    for problem in generate(SMALL, 1, "train", 50):
        example = render(problem, draw_names(SMALL, problem, rng), rng, style, example_id="x", frontier=True)
        assert len(example.alternatives) == len(example.steps)
        facts = set(example.question.replace(". ", ".|").split("|"))
        for step, texts in zip(example.steps, example.alternatives, strict=True):
            assert step in texts and len(set(texts)) == len(texts)
            assert style != "prose" or set(texts) <= facts
            several += len(texts) > 1
    assert several > 20


@pytest.mark.parametrize("style", ["prose", "compact", "symbolic"])
def test_every_text_is_covered_by_the_words_of_its_style(style: Style) -> None:
    tokenizer = build_word_tokenizer(surface_texts(SMALL, style))
    octets = {tokenizer.get_vocab()[f"<0x{octet:02X}>"] for octet in range(256)}
    rng = random.Random(6)
    questions, options = set(), Counter[bool]()
    for problem in generate(SMALL, 1, "train", 100):
        example = render(problem, draw_names(SMALL, problem, rng), rng, style, example_id="x")
        mark = "= " if style == "symbolic" else "### "
        for text in (example.question + "\n", *(step + "\n" for step in example.steps), mark + example.answer):
            ids = tokenizer.encode(text)
            assert not octets.intersection(ids), text
            assert tokenizer.decode(ids) == text
        questions.add(example.question)
        symbols: Any = example.facts["idx_to_symbol"]
        last = f" {symbols[problem.target]}: " if style == "symbolic" else f" or {symbols[problem.target]}?"
        options[last in example.question] += 1
        assert len(example.steps) == problem.distances(problem.root)[problem.target]
    assert len(questions) == 100
    assert options[True] == pytest.approx(50, abs=16)


def test_render_refuses_an_unknown_style_and_wrong_names() -> None:
    with pytest.raises(UserError, match="unknown style 'prosa'"):
        render(WORKED, NAMES, InOrder(), "prosa", example_id="x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="8 nodes need as many different names"):
        render(WORKED, (*NAMES[:-1], "Tom"), InOrder(), "prose", example_id="x")


def test_a_published_record_is_written_as_published() -> None:
    if not PUBLISHED.is_file():
        pytest.skip("needs prosqa_valid.json of published ProsQA")
    for record in json.loads(PUBLISHED.read_text(encoding="utf-8")):
        edges = tuple((parent, child) for parent, child in record["edges"])
        asked = (record["root"], record["target"], record["neg_target"])
        problem = Problem(edges, len(record["idx_to_symbol"]), *asked)
        example = render(problem, record["idx_to_symbol"], random.Random(0), "prose", example_id="x")
        facts, question = record["question"].rsplit(". ", 1)
        ours, asks = example.question.rsplit(". ", 1)
        assert sorted(ours.split(". ")) == sorted(facts.split(". "))
        assert sorted(asks.rstrip("?").split()) == sorted(question.rstrip("?").split())
        assert example.answer == record["answer"]
        assert len(example.steps) == len(record["steps"])
        assert set(example.steps) <= set(example.question.replace(". ", ".|").split("|"))
        assert {key: example.facts[key] for key in example.facts} == {key: record[key] for key in example.facts}


@pytest.mark.parametrize("style", ["prose", "compact", "symbolic"])
def test_the_two_questions_about_a_graph_differ_in_the_root_alone(style: Style) -> None:
    rng = random.Random(5)
    for number, problem in enumerate(generate(SMALL, 0, "train", 40)):
        other = problem.other_question()
        assert other is not None
        names = draw_names(SMALL, problem, rng)
        one, two = (
            render(asked, names, random.Random(number), style, example_id="x", exchanged=asked is other)
            for asked in (problem, other)
        )
        words = re.findall(r"\w+|\W+", one.question), re.findall(r"\w+|\W+", two.question)
        differ = [(left, right) for left, right in zip(*words, strict=True) if left != right]
        assert differ == [(names[problem.root], names[other.root])]
        assert one.answer != two.answer and one.facts["edges"] == two.facts["edges"]
        assert two.facts["root"] == other.root and two.facts["target"] == problem.neg_target
