"""Word problems of sums, and one that is worked out on paper.

Anna 12 ──+7──→ Ben 19 ──-5──→ Carl 14     the question
                   └─────+3──→ Dan 22      the other question
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from lcot.datamodules import Source, Sums
from lcot.datamodules.base import Split
from lcot.datamodules.word_problems.sums import (
    MOST_SUMS,
    PEOPLE,
    THINGS,
    Problem,
    SumSource,
    draw_problem,
    equation,
    generate,
    render,
    split_of,
)
from lcot.errors import UserError
from lcot.metrics.paths import judge
from lcot.metrics.problem_graph import problem_graph
from lcot.metrics.shortcuts import deeper, has_options, scores
from lcot.metrics.surfaces import stated_facts
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random
from tests.problems import InOrder

SMALL: dict[str, Any] = {"train_size": 60, "val_size": 40, "test_size": 40, "seed": 1}
BOTH: tuple[Split, ...] = ("train", "test")
PROBLEM = Problem((12, 19, 14), 22)
FACTS = "Anna has 12 shells. Ben has 7 more than Anna. Carl has 5 fewer than Ben. Dan has 3 more than Ben."


def paper(other: bool = False) -> ReasoningExample:
    return render(PROBLEM, ("Anna", "Ben", "Carl", "Dan"), "shells", InOrder(), example_id="paper", other=other)


def everything(source: Source, epoch: int = 0) -> list[ReasoningExample]:
    return [source.example(index, epoch) for index in range(len(source))]


def read(example: ReasoningExample) -> tuple[list[str], str]:
    """Steps and answer as a reader finds them: from the one who is asked about back to the number that is stated."""
    stated, has = {}, {}
    for who, how_many, how, whom in re.findall(r"(\w+) has (\d+) (more|fewer) than (\w+)\.", example.question):
        stated[who] = (whom, int(how_many) if how == "more" else -int(how_many))
    for who, how_many in re.findall(r"(\w+) has (\d+) (?!more|fewer)\w+\.", example.question):
        has[who] = int(how_many)
    asked = re.search(r"How many \w+ does (\w+) have\?$", example.question)
    assert asked is not None

    def amount(who: str) -> tuple[list[str], int]:
        if who in has:
            return [], has[who]
        whom, more = stated[who]
        steps, before = amount(whom)
        return [*steps, f"{who}: {before}{'+' if more > 0 else '-'}{abs(more)}={before + more}"], before + more

    steps, answer = amount(asked[1])
    return steps, str(answer)


def test_the_problem_on_paper() -> None:
    example = paper()
    assert example.question == f"{FACTS} How many shells does Carl have?"
    assert example.steps == ("Ben: 12+7=19", "Carl: 19-5=14") and example.answer == "14"
    assert example.facts == {
        "idx_to_symbol": ["Anna", "Ben", "Carl", "Dan"],
        "edges": [[0, 1], [1, 2], [1, 3]],
        "amounts": [12, 19, 14, 22],
        "root": 0,
        "target": 2,
        "neg_target": 3,
    }


def test_the_other_question_on_paper() -> None:
    one, other = paper(), paper(other=True)
    assert other.question == f"{FACTS} How many shells does Dan have?"
    assert other.steps == ("Ben: 12+7=19", "Dan: 19+3=22") and other.answer == "22"
    assert other.facts == {**one.facts, "target": 3, "neg_target": 2}


def test_equations() -> None:
    assert (equation(12, 19), equation(19, 14), equation(1, 39)) == ("12+7=19", "19-5=14", "1+38=39")


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("sums", [(1, 1), (2, 3), (5, 5)])
def test_who_reads_the_question_finds_steps_and_answer(split: Split, sums: tuple[int, int]) -> None:
    counts: Counter[int] = Counter()
    for example in everything(Sums(**SMALL, sums=sums, ask="both").make_source(split)):
        assert read(example) == (list(example.steps), example.answer)
        counts[len(example.steps)] += 1
        assert all(1 <= int(number) <= 39 for number in re.findall(r"\d+", example.question))
    assert set(counts) == set(range(sums[0], sums[1] + 1))


def test_every_number_is_as_frequent_as_any_other() -> None:
    rng = keyed_random("test")
    drawn = [draw_problem((2, 2), 4, rng) for _ in range(8000)]
    for place in range(3):
        counts = Counter(problem.amounts[place] for problem in drawn)
        assert set(counts) == {1, 2, 3, 4} and all(abs(count - 2000) < 200 for count in counts.values())
    different = {(*problem.amounts, problem.other) for problem in drawn}
    assert all(a != b != c != other != b for a, b, c, other in different) and len(different) == 4 * 3 * 3 * 2


def test_no_problem_is_in_two_splits_nor_twice_in_one() -> None:
    keys: dict[tuple[int, ...], str] = {}
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        for problem in generate((1, 2), 6, 0, split, 20):
            assert keys.setdefault(problem.key, split) == split
            assert sum(key == problem.key for key in keys) == 1 and split_of(problem) == split
    assert len(keys) == 40
    source = SumSource((1, 2), 6, 2000, "train", 0)
    assert not {source.problem(index, 0).key for index in range(2000)} & keys.keys()


def test_the_two_questions_of_a_problem_are_in_one_split() -> None:
    rng = keyed_random("test")
    for problem in (draw_problem((2, 3), 39, rng) for _ in range(200)):
        turned = Problem((*problem.amounts[:-1], problem.other), problem.amounts[-1])
        assert turned != problem and turned.key == problem.key and split_of(turned) == split_of(problem)


def test_names_and_order_do_not_decide() -> None:
    """Of the same numbers with other names each is where the numbers are."""
    data = Sums(**SMALL)
    numbers = {problem_graph(example).amounts for example in everything(data.make_source("test"))}
    other = Sums(**{**SMALL, "seed": 2, "train_size": 3000})
    trained = {problem_graph(example).amounts for example in everything(other.make_source("train"))}
    assert numbers and not numbers & trained


def test_both_questions_have_the_same_facts_and_other_answers() -> None:
    examples = everything(Sums(**SMALL, ask="both").make_source("test"))
    assert len(examples) == 80
    for one, other in zip(examples[::2], examples[1::2], strict=True):
        assert one.pair == other.pair == one.id and other.id == f"{one.id}-other"
        assert one.question.rpartition(" How ")[0] == other.question.rpartition(" How ")[0]
        assert one.answer != other.answer and len(one.steps) == len(other.steps)
    assert examples[::2] == [
        ReasoningExample(e.question, e.steps, e.answer, e.id, e.facts, pair=e.id)
        for e in everything(Sums(**SMALL).make_source("test"))
    ]


def test_a_rule_that_does_not_read_the_question_gets_none_of_the_pairs() -> None:
    data = Sums(**{**SMALL, "test_size": 200}, ask="both")
    examples = everything(data.make_source("test"))
    assert all(map(has_options, examples))
    found = scores({"deeper": deeper, "first": lambda graph: min(graph.target, graph.neg_target or 0)}, examples)
    for score in found.values():
        assert (score.questions, score.accuracy, score.pairs, score.pair_accuracy) == (400, 0.5, 200, 0.0)


def test_the_graph_is_that_of_the_sentences() -> None:
    example = paper()
    graph = problem_graph(example)
    assert (graph.steps, graph.amounts) == (2, (12, 19, 14, 22))
    facts = stated_facts(example, graph, "sums")
    assert [example.question[fact.start : fact.stop] for fact in facts] == FACTS.replace(". ", ".|").split("|")[1:]
    assert [fact.edge for fact in facts] == [(0, 1), (1, 2), (1, 3)]


@pytest.mark.parametrize(
    ("text", "hidden", "category"),
    [
        ("Ben: 12+7=19\nCarl: 19-5=14\n### 14", 0, "correct_path"),
        ("Ben: 12+7=19\nCarl: 19-5=14\n### 15", 0, "correct_path"),  # the steps alone decide
        ("Ben: 12+7=19\nDan: 19+3=22\n### 22", 0, "wrong_target"),
        ("Ben: 12+7=18\nCarl: 19-5=14\n### 14", 0, "hallucination"),  # no sum of the facts
        ("Ben: 12+6=18\nCarl: 18-5=13\n### 13", 0, "hallucination"),
        ("Carl: 19-5=14\n### 14", 0, "hallucination"),  # nobody says how many Ben has
        ("Carl: 19-5=14\n### 14", 1, "correct_path"),
        ("Dan: 19+3=22\n### 22", 1, "wrong_target"),
        ("Kim: 19+3=22\n### 22", 1, "hallucination"),
        ("### 14", 2, "correct_label"),
        ("### 22", 2, "incorrect_label"),
        ("### Carl", 2, "unparseable"),
        ("Ben has 19.\n### 14", 0, "unparseable"),
    ],
)
def test_paths(text: str, hidden: int, category: str) -> None:
    assert judge(text, paper(), hidden) == category


def test_training_is_drawn_anew_or_stays() -> None:
    anew, stays = Sums(**SMALL, redraw="all").make_source("train"), Sums(**SMALL).make_source("train")
    assert anew.redraws and not stays.redraws
    assert everything(anew, 0) == everything(stays, 0) == everything(stays, 3)
    assert not {e.question for e in everything(anew, 0)} & {e.question for e in everything(anew, 1)}
    assert everything(anew, 1) == everything(Sums(**SMALL, redraw="all").make_source("train"), 1)


def test_a_smaller_set_is_the_beginning_of_a_larger_one() -> None:
    large, small = Sums(**SMALL), Sums(**{**SMALL, "test_size": 7, "train_size": 7})
    for split in BOTH:
        longer = everything(large.make_source(split))
        assert everything(small.make_source(split)) == longer[:7]
    seeded = everything(Sums(**{**SMALL, "seed": 2}).make_source("test"))
    assert not {e.question for e in seeded} & {e.question for e in everything(large.make_source("test"))}
    assert everything(large.make_source("predict")) == everything(large.make_source("test"))


def test_each_word_is_one_token() -> None:
    data = Sums(**SMALL)
    tokenizer = data.set_up_tokenizer()
    for split in BOTH:
        for example in everything(data.make_source(split)):
            text = "".join(data.text.pieces(example))
            ids = tokenizer(text)["input_ids"]
            assert tokenizer.decode(ids) == text
            assert len(ids) == len(re.findall(r"\w+|[^\w\s]+\s?|\n", text))


def test_people_and_things_are_words_of_their_own() -> None:
    assert len({*PEOPLE, *THINGS}) == len(PEOPLE) + len(THINGS) and max(map(len, PEOPLE)) <= 5
    longest = SumSource((MOST_SUMS, MOST_SUMS), 39, 1, "train", 0).question(0, 0, False)
    assert len(longest.steps) == MOST_SUMS


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sums": (0, 2)}, r"sums is \[0, 2\]"),
        ({"sums": (3, 2)}, r"sums is \[3, 2\]"),
        ({"sums": (2, MOST_SUMS + 1)}, "sums is"),
        ({"largest": 2}, "largest is 2"),
        ({"test_size": 0}, "test_size is 0"),
        ({"ask": "either"}, "either"),
        ({"redraw": "order"}, "order"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Sums(**options)


def test_too_few_problems() -> None:
    with pytest.raises(UserError, match="test problems with numbers up to 3, and 500 are wanted"):
        Sums(sums=(1, 1), largest=3, test_size=500).make_source("test")


def test_repeated_problems_are_said(caplog: pytest.LogCaptureFixture) -> None:
    Sums(sums=(1, 1), largest=4, train_size=200, seed=0).make_source("train")
    assert "problems of such numbers" in caplog.text
