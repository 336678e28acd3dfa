"""The ProsQA data module: generated and published sources, styles, what is redrawn, and what stays apart."""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import ProsQA
from lcot.datamodules.graphs.generator import GraphSpec
from lcot.datamodules.graphs.hints import Hints, chain_words
from lcot.datamodules.graphs.prosqa import GraphSource
from lcot.datamodules.graphs.splits import canonical_key, generate
from lcot.datamodules.graphs.text import draw_names, render
from lcot.datamodules.rows import StageDataset
from lcot.datamodules.sampler import RowKey
from lcot.errors import DataError, UserError
from lcot.metrics import extractor
from lcot.metrics.problem_graph import problem_graph
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.text import TextFormat
from tests.metrics.adversarial_prosqa import GOLD, OUTPUTS
from tests.places import SHARED
from tests.tiny import write_records

PUBLISHED = SHARED / "prosqa" / "prosqa_valid.json"
SMALL: dict[str, Any] = {
    "nodes": (6, 9),
    "hops": (1, 3),
    "symbols": 14,
    "train_size": 40,
    "val_size": 10,
    "test_size": 12,
    "seed": 1,
}


def published_file(folder: Path, drop: str | None = None) -> Path:
    """A file in the published format, of generated problems."""
    spec, rng = GraphSpec(nodes=(6, 9), hops=(1, 3)), random.Random(3)
    records = []
    for number, problem in enumerate(generate(spec, 2, "train", 5)):
        example = render(problem, draw_names(spec, problem, rng), rng, "prose", example_id=str(number))
        record = {"question": example.question, "steps": list(example.steps), "answer": example.answer, **example.facts}
        records.append({key: value for key, value in record.items() if key != drop})
    path = folder / "published.json"
    path.write_text(json.dumps(records))
    return path


def graphs_of(source: object) -> set[int]:
    assert isinstance(source, GraphSource)
    return {canonical_key(problem, marks=False) for problem in source.problems}


def test_no_graph_is_in_two_splits() -> None:
    data = ProsQA(**SMALL)
    train, val, test = (graphs_of(data.make_source(split)) for split in ("train", "val", "test"))
    assert not (train & val or train & test or val & test)
    assert graphs_of(data.make_source("predict")) == test


@pytest.mark.parametrize(("redraw", "same_names", "same_order"), [("none", 1, 1), ("order", 1, 0), ("all", 0, 0)])
def test_what_a_second_visit_changes(redraw: Any, same_names: int, same_order: int) -> None:
    source = ProsQA(**SMALL, redraw=redraw).make_source("train")
    first, again, second = source.example(3, 0), source.example(3, 0), source.example(3, 1)
    assert first == again and source.redraws is (redraw != "none")
    assert (first.facts["idx_to_symbol"] == second.facts["idx_to_symbol"]) is bool(same_names)
    assert (first.question == second.question) is bool(same_order)


def test_evaluation_never_changes() -> None:
    data = ProsQA(**SMALL, redraw="all")
    for split in ("val", "test"):
        assert data.make_source(split).example(0, 0) == data.make_source(split).example(0, 7)


def test_a_published_file_is_read_as_it_stands_or_rewritten(tmp_path: Path) -> None:
    path = str(published_file(tmp_path))
    records = json.loads(Path(path).read_text())
    plain = ProsQA(**SMALL, train_path=path).make_source("train")
    assert [plain.example(i, 4).question for i in range(5)] == [record["question"] for record in records]
    compact = ProsQA(**SMALL, train_path=path, style="compact", redraw="all").make_source("train")
    example, record = compact.example(2, 0), records[2]
    names, problem = record["idx_to_symbol"], example.facts
    assert problem["edges"] == record["edges"] and problem["idx_to_symbol"] == names
    assert example.question.endswith(f"? {names[record['root']]}") and example.answer == names[record["target"]]
    assert compact.example(2, 0).question != compact.example(2, 1).question


def test_rewriting_needs_the_graph(tmp_path: Path) -> None:
    path = str(published_file(tmp_path, drop="edges"))
    assert len(ProsQA(**SMALL, train_path=path).make_source("train")) == 5
    with pytest.raises(DataError, match="has no field 'edges'"):
        ProsQA(**SMALL, train_path=path, style="compact").make_source("train")


GRAPH: dict[str, Any] = {
    "question": "Tom is a cat. Every cat is a pet. Is Tom a pet or dog?",
    "steps": ["Tom is a cat.", "Every cat is a pet."],
    "answer": "Tom is a pet.",
    "idx_to_symbol": ["Tom", "cat", "pet", "dog"],
    "edges": [[0, 1], [1, 2]],
    "root": 0,
    "target": 2,
    "neg_target": 3,
}
"""A record whose text and graph say the same."""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"edges": None}, "has a field 'edges' that is no list of pairs: null"),
        ({"edges": [[0, 1], "12"]}, r"has a field 'edges'\[1\] that is no pair of nodes from 0 to 3: '12'"),
        ({"edges": [[0, 1], [1, 4]]}, r"has a field 'edges'\[1\] that is no pair of nodes from 0 to 3: \[1, 4\]"),
        ({"edges": [[0, 1], [1, -1]]}, r"has a field 'edges'\[1\] that is no pair"),
        ({"edges": [[0, 1], [1, 2, 3]]}, r"has a field 'edges'\[1\] that is no pair"),
        ({"edges": [[0, 1], [2, 3]]}, "has a target that its root does not reach"),
        ({"target": 0}, "has a target that its root does not reach"),
        ({"root": None}, "has a field 'root' that is no node from 0 to 3: null"),
        ({"neg_target": True}, "has a field 'neg_target' that is no node from 0 to 3: true"),
        ({"idx_to_symbol": ["Tom", "cat", "pet", "cat"]}, "has the name 'cat' twice in field 'idx_to_symbol'"),
        ({"idx_to_symbol": "Tom"}, "has a field 'idx_to_symbol' that is no list of names: 'Tom'"),
        ({"idx_to_symbol": ["Tom", 1, "pet", "dog"]}, "has a field 'idx_to_symbol' that is no list of names"),
    ],
)
def test_a_graph_that_cannot_be_rewritten_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = write_records(tmp_path / "graphs.json", GRAPH, {**GRAPH, **change})
    for style in ("compact", "prose"):
        with pytest.raises(DataError, match=f"example '1' {words}") as caught:
            ProsQA(**SMALL, val_path=str(path), style=style).make_source("val")
        assert caught.value.where is not None and caught.value.where.startswith(f"{path}, record 2")


def test_the_words_cover_published_names_whatever_is_in_play() -> None:
    tokenizer = ProsQA(**SMALL).set_up_tokenizer()
    for text in ("Every zumpus is a boompus.", "Is Wren a zumpus or boompus?"):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and len(ids) <= 7


@pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs prosqa_valid.json of published ProsQA")
@pytest.mark.parametrize("style", ["prose", "compact", "symbolic"])
def test_the_published_file_is_read_whole(style: Any) -> None:
    source = ProsQA(**SMALL, val_path=str(PUBLISHED), style=style).make_source("val")
    records = json.loads(PUBLISHED.read_text())
    assert len(source) == len(records) == 300
    for index, record in enumerate(records):
        example = source.example(index, 0)
        if style == "prose":
            assert (example.question, list(example.steps)) == (record["question"], record["steps"])
        else:
            assert len(example.steps) == len(record["steps"])


@pytest.mark.parametrize(("output", "answer", "right"), OUTPUTS)
def test_adversarial_outputs(output: str, answer: str | None, right: bool) -> None:
    data = ProsQA(**SMALL)
    (reader,) = map(extractor, data.extractors)
    assert reader.extract(output, data.text.before_answer) == answer and reader.equal(answer, GOLD) is right


def test_there_are_forty_adversarial_outputs() -> None:
    assert len({output for output, *_ in OUTPUTS}) == len(OUTPUTS) >= 40


@pytest.mark.parametrize("target", ["chain", "frontier"])
def test_the_target_of_a_stage(target: Any) -> None:
    """After i thoughts: the chain's next node or any at its distance, drawn anew at each visit; the answer at last."""
    symbolic: dict[str, Any] = {"style": "symbolic", "text": TextFormat("", "", "= "), "redraw": "order"}
    data = ProsQA(**{**SMALL, **symbolic, "nodes": (9, 9), "hops": (2, 2)}, stage_target=target)
    train, val = data.make_source("train"), data.make_source("val")
    tokenizer, schedule = data.set_up_tokenizer(), Stepwise(max_stage=2, markers="never", written="next")
    assert data.special is not None
    builder = LayoutBuilder(tokenizer, data.special, "continuous", data.text, markers="never")
    varied = 0
    for split, source in (("train", train), ("val", val)):
        rows = StageDataset(source, builder, schedule, 0, "train" if split == "train" else "val")
        for number, stage in itertools.product(range(10), range(3)):
            written = set()
            for epoch in range(8 if split == "train" else 2):
                row, _, example = rows[RowKey(epoch, stage, number)]
                written.add(str(tokenizer.decode(row.ids[row.prompt :])))
                assert row.thoughts == stage
            facts: Any = example.facts
            names, edges = facts["idx_to_symbol"], facts["edges"]
            near = {end for start, end in edges if start == facts["root"]}
            levels = [near, {end for start, end in edges if start in near} - near]
            if stage == 2:
                assert written == {f"= {example.answer}<|endoftext|>"}
            elif target == "chain" or split == "val":
                assert written == {example.steps[stage]}
            else:
                assert written <= {names[node] for node in levels[stage]}
                varied += len(written) > 1
    assert (varied > 5) is (target == "frontier")


@pytest.mark.parametrize("style", ["prose", "compact", "symbolic"])
@pytest.mark.parametrize("published", [False, True])
def test_both_questions_about_each_graph(tmp_path: Path, style: Any, published: bool) -> None:
    path = str(published_file(tmp_path)) if published else None
    options: dict[str, Any] = {**SMALL, "style": style, "val_path": path, "train_path": path}
    plain, data = ProsQA(**options), ProsQA(**options, ask="both", redraw="order")
    owns, both = plain.make_source("val"), data.make_source("val")
    assert len(both) == 2 * len(owns)
    read = list(data.examples("val")())
    assert read == [both.example(index, 3) for index in range(len(both))]
    for index in range(len(owns)):
        own, other = both.example(2 * index, 0), both.example(2 * index + 1, 0)
        assert replace(own, pair="") == owns.example(index, 5) and own.pair == other.pair == own.id
        names: Any = own.facts["idx_to_symbol"]
        facts: Any = other.facts
        assert facts["edges"] == own.facts["edges"] and facts["idx_to_symbol"] == names
        assert (facts["target"], facts["neg_target"]) == (own.facts["neg_target"], own.facts["target"])
        assert other.id == f"{own.id}-other" and names[facts["target"]] in other.answer
        assert len(other.steps) == problem_graph(other).steps
    train = data.make_source("train")
    assert train.example(1, 0).id == f"{train.example(0, 0).id}-other" and len(train) == 2 * len(
        plain.make_source("train")
    )
    assert train.example(1, 0).question != train.example(1, 1).question


def test_either_question_in_training_and_both_in_evaluation() -> None:
    data = ProsQA(**SMALL, ask="both", train_ask="either", redraw="all", style="compact")
    train, test = data.make_source("train"), data.make_source("test")
    assert (len(train), len(test)) == (40, 24)
    asked = [[train.example(index, epoch) for index in range(40)] for epoch in range(2)]
    for examples in asked:
        others = sum(example.id.endswith("-other") for example in examples)
        assert 8 < others < 32 and all(example.pair == "" for example in examples)
    assert [example.id for example in asked[0]] != [example.id for example in asked[1]]
    assert train.example(3, 1) == data.make_source("train").example(3, 1)
    either = ProsQA(**SMALL, ask="either")
    assert len(either.make_source("test")) == 12
    assert [either.make_source(split).example(5, 0).id for split in ("test", "predict")] in (
        ["test-5"] * 2,
        ["test-5-other"] * 2,
    )


@pytest.mark.parametrize("ask", ["deeper", "either", "both"])
def test_predict_answers_the_questions_of_the_test(tmp_path: Path, ask: Any) -> None:
    path = str(published_file(tmp_path))
    for options in ({}, {"test_path": path}, {"test_path": path, "style": "compact"}):
        data = ProsQA(**{**SMALL, **options}, ask=ask)
        test, predict = data.make_source("test"), data.make_source("predict")
        asked = [test.example(index, 0) for index in range(len(test))]
        assert asked == [predict.example(index, 0) for index in range(len(predict))]
        assert asked == list(data.examples("predict")()) == list(data.examples("test")())


def test_hints_name_the_way_of_the_question_that_is_asked() -> None:
    hints = Hints(share=1.0, words=3, right=1.0, drop_facts=False)
    source = ProsQA(**SMALL, style="compact", ask="both", hints=hints).make_source("train")
    for index in range(len(source)):
        example = source.example(index, 2)
        told = example.question.rpartition("? ")[2].partition(" or ")[2]
        assert told == f"{' '.join(chain_words(example, 3))}?"


def test_the_words_of_a_file_cover_both_questions(tmp_path: Path) -> None:
    facts = "Ann is a cat. Every cat is a pet. Bo is a cow. Every cow is a dog."
    graph = {"idx_to_symbol": ["Ann", "cat", "pet", "dog", "Bo", "cow"], "edges": [[0, 1], [1, 2], [4, 5], [5, 3]]}
    steps = {"steps": ["Ann is a cat.", "Every cat is a pet."], "answer": "Ann is a pet."}
    record = {**GRAPH, **graph, **steps, "question": f"{facts} Is Ann a pet or dog?"}
    path = str(write_records(tmp_path / "graphs.json", record))
    data = ProsQA(**SMALL, train_path=path, ask="both")
    tokenizer, source = data.set_up_tokenizer(), data.make_source("train")
    for index in range(2):
        example = source.example(index, 0)
        for text in (example.question, *example.steps, example.answer):
            ids = tokenizer.encode(text)
            assert tokenizer.decode(ids) == text and tokenizer.unk_token_id not in ids


@pytest.mark.parametrize("target", ["chain", "frontier"])
def test_a_curriculum_goes_on_behind_chains_of_any_length(target: Any) -> None:
    """The other question may have fewer or more steps than ``hops``: rows of every stage are made of it."""
    data = ProsQA(
        **{**SMALL, "hops": (3, 3), "nodes": (9, 9), "root": "first"},
        style="symbolic",
        ask="both",
        stage_target=target,
        text=TextFormat("", "", "= "),
    )
    source, tokenizer = data.make_source("train"), data.set_up_tokenizer()
    assert data.special is not None
    lengths = {len(source.example(index, 0).steps) for index in range(len(source))}
    assert min(lengths) < 3
    builder = LayoutBuilder(tokenizer, data.special, "continuous", data.text, markers="never")
    schedule = Stepwise(max_stage=2, markers="never", written="next" if target == "frontier" else "all")
    rows = StageDataset(source, builder, schedule, 0, "train")
    for index, stage in itertools.product(range(len(source)), range(4)):
        row, _, example = rows[RowKey(0, stage, index)]
        assert row.thoughts == min(stage, 2)
        written = str(tokenizer.decode(row.ids[row.prompt :]))
        left = example.steps[stage:] if stage < 3 else ()
        if target == "chain" or not left:
            assert written == "".join([*(f"{step} " for step in left[:-1]), *left[-1:], f"= {example.answer}"]) + (
                "<|endoftext|>"
            )
        else:
            assert written in example.alternatives[stage]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ask": "deepest"}, "unknown ask 'deepest'"),
        ({"train_ask": "neither"}, "unknown train_ask 'neither'"),
        ({"style": "prosa"}, "did you mean 'prose'"),
        ({"stage_target": "front"}, "did you mean 'frontier'"),
        ({"root": "last"}, "unknown root 'last'"),
        ({"redraw": "names"}, "unknown redraw"),
        ({"train_size": 0}, "train_size is 0"),
        ({"hops": (3, 2)}, "hops"),
    ],
)
def test_options_out_of_range(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ProsQA(**{**SMALL, **change})
