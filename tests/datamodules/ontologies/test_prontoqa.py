"""The ProntoQA data module: generated and published sources, splits, what is redrawn, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import ProntoQA
from lcot.datamodules.ontologies.generator import split_of
from lcot.datamodules.ontologies.prontoqa import OntologySource, ReorderedSource
from lcot.datamodules.ontologies.records import read_problems
from lcot.datamodules.ontologies.text import proof_fault, read_facts, sentences
from lcot.errors import DataError, UserError
from lcot.metrics import EXTRACTORS
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.layout import IGNORE, LayoutBuilder
from lcot.reasoning.tokens import add_thought_tokens
from tests.datamodules.ontologies.files import LISTED, RAW, changed, entries
from tests.metrics.adversarial_prontoqa import OUTPUTS
from tests.places import SHARED
from tests.tiny import write_records

PUBLISHED = SHARED / "prontoqa" / "5hop_0shot_random.json"
SMALL: dict[str, Any] = {"hops": (1, 3), "train_size": 30, "val_size": 10, "test_size": 12, "seed": 1}
needs_file = pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs 5hop_0shot_random.json of published ProntoQA")


def test_no_proof_is_in_two_splits() -> None:
    data = ProntoQA(**SMALL)
    kept: dict[str, set[tuple[str, ...]]] = {}
    for split in ("train", "val", "test"):
        source = data.make_source(split)
        assert isinstance(source, OntologySource) and len(source) == SMALL[f"{split}_size"]
        kept[split] = {ontology.proof for ontology in source.ontologies}
    assert not (kept["train"] & kept["val"] or kept["train"] & kept["test"] or kept["val"] & kept["test"])
    test, predict = data.make_source("test"), data.make_source("predict")
    assert [test.example(n, 0) for n in range(12)] == [predict.example(n, 0) for n in range(12)]


def test_generated_ids_name_split_and_place() -> None:
    data = ProntoQA(**SMALL)
    assert [data.make_source("val").example(n, 0).id for n in (0, 9)] == ["val-0", "val-9"]


@pytest.mark.parametrize(("redraw", "same_names", "same_order"), [("none", 1, 1), ("order", 1, 0), ("all", 0, 0)])
def test_what_a_second_visit_changes(redraw: Any, same_names: int, same_order: int) -> None:
    source = ProntoQA(**{**SMALL, "hops": (3, 3)}, redraw=redraw).make_source("train")
    first, again, second = source.example(3, 0), source.example(3, 0), source.example(3, 1)
    assert first == again and source.redraws is (redraw != "none")
    assert (first.facts == second.facts) is bool(same_names)
    assert (first.question == second.question) is bool(same_order)
    assert (sorted(sentences(first.question)) == sorted(sentences(second.question))) is bool(same_names)


def test_redrawn_problems_stay_as_long_and_in_their_split() -> None:
    source = ProntoQA(**SMALL, redraw="all").make_source("train")
    assert isinstance(source, OntologySource)
    for index in range(30):
        first = source.example(index, 0)
        for epoch in (1, 2, 9):
            other = source.example(index, epoch)
            assert split_of(source.ontology(index, epoch)) == "train"
            assert len(other.question.split()) == len(first.question.split())
            assert [len(step.split()) for step in other.steps] == [len(step.split()) for step in first.steps]
            assert other.answer == first.answer


def test_evaluation_never_changes() -> None:
    data = ProntoQA(**SMALL, redraw="all")
    for split in ("val", "test"):
        assert not data.make_source(split).redraws
        assert data.make_source(split).example(0, 0) == data.make_source(split).example(0, 7)


def test_the_words_cover_published_names_whatever_is_in_play() -> None:
    tokenizer = ProntoQA(**{**SMALL, "hops": (1, 1)}, concepts=6, families=3).set_up_tokenizer()
    for text in (RAW["question"], "Zumpuses are snowy.", "Each yumpus is not melodic."):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == text and len(ids) == len(text.split()) + text.count(".")


def test_one_row_by_hand(tmp_path: Path) -> None:
    data = ProntoQA(**SMALL, val_path=str(entries(tmp_path, RAW)))
    tokenizer = data.set_up_tokenizer()
    builder = LayoutBuilder(tokenizer, add_thought_tokens(tokenizer), "continuous", data.text)
    (pieces,) = builder.encode([data.make_source("val").example(0, 0)])
    row = builder.train(pieces, Stage(hidden=1, thoughts=1))
    question = (
        "▁Wumpuses ▁are ▁not ▁hot|. |▁Each ▁rompus ▁is ▁a ▁wumpus|. |▁Every ▁impus ▁is ▁hot|. |▁Sam ▁is ▁a ▁rompus|. |"
        "▁Sam ▁is ▁a ▁gorpus|. |▁True ▁or ▁false|: |▁Sam ▁is ▁hot|.\n"
    )
    text = "▁Sam ▁is ▁a ▁wumpus|. |▁Wumpuses ▁are ▁not ▁hot|.\n|▁Sam ▁is ▁not ▁hot|.\n|### |▁False|<|endoftext|>"
    before = [*pieces_of(question), "<|start-latent|>", "<|latent|>", "<|end-latent|>"]
    assert tokenizer.convert_ids_to_tokens(row.ids) == [*before, *pieces_of(text)]
    assert row.labels == [IGNORE] * len(before) + row.ids[len(before) :]
    assert (row.head, row.thoughts, row.prompt) == (len(before) - 2, 1, len(before))
    last = builder.train(pieces, Stage(hidden=3, thoughts=3))
    assert tokenizer.convert_ids_to_tokens(last.ids[-4:]) == ["<|end-latent|>", "### ", "▁False", "<|endoftext|>"]


def pieces_of(text: str) -> list[str]:
    """Tokens that are written with | or a space between them."""
    marks = {". ", ": ", "### "}
    parts = text.replace("<|endoftext|>", "<END>").split("|")
    return [
        {"<END>": "<|endoftext|>"}.get(word, word)
        for part in parts
        for word in ([part] if part in marks else part.split(" "))
    ]


def test_other_words_are_taken_as_they_stand(tmp_path: Path) -> None:
    cats = {
        "question": "Every cat is a feline. Felines are carnivores. Fae is a cat.",
        "query": "True or false: Fae is not a carnivore.",
        "chain_of_thought": ["Fae is a cat.", "Every cat is a feline.", "Fae is a feline.", "So it is a carnivore."],
        "answer": "False",
    }
    path = str(entries(tmp_path, cats))
    example = ProntoQA(**SMALL, train_path=path).make_source("train").example(0, 0)
    assert example.steps == ("Fae is a cat. Every cat is a feline.", "Fae is a feline. So it is a carnivore.")
    assert example.facts == {} and example.answer == "False"
    with pytest.raises(DataError, match="example 'example1' has a sentence of no known form") as caught:
        ProntoQA(**SMALL, train_path=path, redraw="order").make_source("train")
    assert caught.value.where == f"{path}, record 1"


@pytest.mark.parametrize(("redraw", "moves"), [("none", False), ("order", True), ("all", True)])
def test_facts_of_a_file_change_their_order_at_most(tmp_path: Path, redraw: Any, moves: bool) -> None:
    source = ProntoQA(**SMALL, train_path=str(entries(tmp_path, RAW)), redraw=redraw).make_source("train")
    assert isinstance(source, ReorderedSource) is source.redraws is moves
    seen = [source.example(0, epoch) for epoch in range(6)]
    assert source.example(0, 3) == seen[3]
    assert (len({example.question for example in seen}) > 1) is moves
    assert {tuple(sorted(sentences(example.question))) for example in seen} == {
        tuple(sorted(sentences(LISTED["question"])))
    }
    assert len(source) == 1 and all(example.facts == seen[0].facts for example in seen)
    assert not ProntoQA(**SMALL, val_path=str(entries(tmp_path, RAW)), redraw=redraw).make_source("val").redraws


def test_one_file_is_cut_in_three(tmp_path: Path) -> None:
    path = str(entries(tmp_path, *[RAW] * 9))
    sizes = {**SMALL, "train_size": 5, "val_size": 1, "test_size": 3}
    data = ProntoQA(**sizes, path=path)
    ids = {
        split: [data.make_source(split).example(n, 0).id for n in range(len(data.make_source(split)))]
        for split in ("train", "val", "test", "predict")
    }
    assert ids["train"] == [f"example{n}" for n in range(1, 6)]
    assert ids["val"] == ["example6"]
    assert ids["test"] == ids["predict"] == ["example7", "example8", "example9"]
    with pytest.raises(DataError, match="holds 9 records, and the test split is to have records 7 to 10") as caught:
        ProntoQA(**{**sizes, "test_size": 4}, path=path).make_source("test")
    assert caught.value.where == path
    published = ProntoQA(path=path).sizes
    assert published == {"train": 9000, "val": 200, "test": 800, "predict": 800}


def test_training_files_give_their_words_to_the_tokenizer(tmp_path: Path) -> None:
    cats = changed(
        question="Every cat is a feline. Fae is a cat.",
        query="True or false: Fae is feline.",
        chain_of_thought=["Yes."],
    )
    for place in ("train_path", "path"):
        sizes = {**SMALL, "train_size": 1, "val_size": 1, "test_size": 1}
        data = ProntoQA(**{**sizes, place: str(entries(tmp_path, cats, RAW, RAW))})
        tokenizer = data.set_up_tokenizer()
        assert len(tokenizer.encode("Every cat is a feline.")) == 6


@needs_file
def test_the_published_file_has_one_token_a_word() -> None:
    data = ProntoQA(**{**SMALL, "hops": (1, 1)}, val_path=str(PUBLISHED), concepts=6, families=3)
    tokenizer = data.set_up_tokenizer()
    lengths = []
    for example in read_problems(PUBLISHED):
        ids = tokenizer.encode(example.question)
        assert tokenizer.decode(ids) == example.question
        assert len(ids) == len(example.question.split()) + 27  # 26 full stops and a colon
        lengths.append(len(ids))
    assert max(lengths) == 144


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"redraw": "names"}, "unknown redraw"),
        ({"train_size": 0}, "train_size is 0"),
        ({"hops": (3, 2)}, r"hops is \(3, 2\)"),
        ({"hops": (1, 5), "concepts": 9}, "concepts is 9"),
        ({"path": "a.json", "val_path": "b.json"}, "path and val_path are both given"),
        ({"path": "a.json", "train_path": "b.json", "test_path": "c.json"}, "path and train_path are both given"),
        ({"extractors": ["numbr"]}, "did you mean 'number'"),
    ],
)
def test_options_out_of_range(change: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ProntoQA(**{**SMALL, **change})


@pytest.mark.parametrize(("output", "gold", "answer", "right"), OUTPUTS)
def test_adversarial_outputs(output: str, gold: str, answer: str | None, right: bool) -> None:
    string = EXTRACTORS["string"]
    assert string.extract(output, "### ") == answer
    assert string.equal(answer, gold) is right


def test_there_are_forty_adversarial_outputs() -> None:
    assert len({(output, gold) for output, gold, _, _ in OUTPUTS}) == len(OUTPUTS) >= 40
    assert ProntoQA.default_extractors == ("string",)


def test_problems_whose_words_are_not_known_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    strange = {**RAW, "question": RAW["question"].replace("Every impus is hot.", "Some impus is hot.")}
    known = ProntoQA(train_path=str(entries(tmp_path, RAW, RAW)))
    other = ProntoQA(train_path=str(entries(tmp_path, strange, strange, name="other.json")))
    assert len(known.make_source("train")) == len(other.make_source("train")) == 2 and caplog.messages == []
    path = entries(tmp_path, RAW, strange, RAW, name="mixed.json")
    assert len(ProntoQA(train_path=str(path)).make_source("train")) == 3
    assert caplog.messages == [
        f"1 of 3 problems of {path} have sentences of no known form: their proofs are not checked, and they are not"
        " judged by graphs"
    ]


@pytest.mark.parametrize("published", [False, True])
def test_both_queries_about_each_problem(tmp_path: Path, published: bool) -> None:
    records = (RAW, changed(query="True or false: Sam is not hot.", answer="True"))
    options: dict[str, Any] = {**SMALL, **({"test_path": str(entries(tmp_path, *records))} if published else {})}
    data, plain = ProntoQA(**options, ask="both"), ProntoQA(**options).make_source("test")
    source = data.make_source("test")
    assert len(source) == 2 * len(plain) and len(data.make_source("train")) == SMALL["train_size"]
    for index in range(len(plain)):
        own, other = source.example(2 * index, 0), source.example(2 * index + 1, 0)
        assert replace(own, pair="") == plain.example(index, 0) and own.pair == other.pair == own.id
        assert {own.answer, other.answer} == {"True", "False"} and own.steps == other.steps
        facts, _, query = own.question.rpartition(" is ")
        assert other.question == f"{facts} is {query.removeprefix('not ') if 'not ' in query else 'not ' + query}"
        proof = [sentence for step in other.steps for sentence in sentences(step)]
        assert proof_fault(other.question, proof, other.answer == "True") is None
        assert read_facts(other.question, other.steps) == {name: other.facts[name] for name in other.facts}


def test_a_query_that_cannot_be_read_is_not_negated(tmp_path: Path) -> None:
    path = write_records(
        tmp_path / "cats.json", LISTED, {**LISTED, "question": "All cats purr. True or false: Sam is hot."}
    )
    assert len(ProntoQA(**SMALL, val_path=str(path)).make_source("val")) == 2
    with pytest.raises(DataError, match="example '1' has a sentence of no known form") as caught:
        ProntoQA(**SMALL, val_path=str(path), ask="both").make_source("val")
    assert caught.value.why is not None and caught.value.why.startswith("ask 'both' negates the query")
    with pytest.raises(UserError, match="unknown ask 'either'"):
        ProntoQA(**SMALL, ask="either")  # type: ignore[arg-type]
