"""ProntoQA as text: the published wording, the pairs of a proof, and reading it all back."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from lcot.datamodules.ontologies.generator import Ontology, OntologySpec, Property, draw_ontology
from lcot.datamodules.ontologies.text import (
    Statement,
    Wording,
    draw_wording,
    paired,
    proof_fault,
    read_facts,
    read_statement,
    render,
    reordered,
    sentences,
    surface_texts,
)
from lcot.datamodules.tokenizers import build_word_tokenizer

HELD = [("hot", True), ("small", False), ("shy", True), ("dull", False), ("blue", True)]
ONTOLOGY = Ontology(
    entity="Max",
    chain=("impus", "lorpus", "wumpus"),
    sides=("numpus", "rompus"),
    apart=("gorpus", "vumpus"),
    contrary="zumpus",
    properties=tuple(Property(*said) for said in HELD),
    answer=False,
)
WORDING: tuple[Wording, ...] = (
    "each",
    "every",
    "plural",
    "each",
    "every",
    "plural",
    "each",
    "every",
    "plural",
    "each",
    "plural",
)
PROOF = [
    "Max is an impus.",
    "Each impus is a lorpus.",
    "Max is a lorpus.",
    "Each lorpus is not small.",
    "Max is not small.",
]
RULES = {
    *("Each impus is a lorpus.", "Every lorpus is a wumpus.", "Impuses are numpuses.", "Each lorpus is a rompus."),
    *("Every gorpus is a vumpus.", "Impuses are hot.", "Each lorpus is not small.", "Every numpus is shy."),
    *("Rompuses are not dull.", "Each gorpus is blue.", "Zumpuses are small."),
}
QUESTION = " ".join([*sorted(RULES), "Max is a gorpus. Max is an impus. True or false: Max is small."])


def test_a_problem_is_worded_as_published() -> None:
    example = render(ONTOLOGY, WORDING, random.Random(1), example_id="max")
    *rules, first, second, query = sentences(example.question)
    assert len(rules) == len(RULES) and set(rules) == RULES
    assert {first, second} == {"Max is an impus.", "Max is a gorpus."}
    assert query == "True or false: Max is small."
    assert example.steps == (f"{PROOF[0]} {PROOF[1]}", f"{PROOF[2]} {PROOF[3]}", PROOF[4])
    assert (example.answer, example.id) == ("False", "max")
    assert example.facts == {
        "entity": "Max",
        "members": ["gorpus", "impus"],
        "edges": [
            ["gorpus", "vumpus"],
            ["impus", "lorpus"],
            ["impus", "numpus"],
            ["lorpus", "rompus"],
            ["lorpus", "wumpus"],
        ],
        "properties": [
            ["gorpus", "blue", True],
            ["impus", "hot", True],
            ["lorpus", "small", False],
            ["numpus", "shy", True],
            ["rompus", "dull", False],
            ["zumpus", "small", True],
        ],
        "query": ["small", True],
        "chain": ["impus", "lorpus"],
    }


@pytest.mark.parametrize("negated", [True, False])
@pytest.mark.parametrize("answer", [True, False])
def test_the_query_says_what_its_answer_needs(answer: bool, negated: bool) -> None:
    held = [Property(word, holds != (place == 1 and not negated)) for place, (word, holds) in enumerate(HELD)]
    example = render(
        replace(ONTOLOGY, answer=answer, properties=tuple(held)), WORDING, random.Random(1), example_id="max"
    )
    assert example.answer == str(answer)
    assert example.steps[-1] == ("Max is not small." if negated else "Max is small.")
    assert example.question.endswith("Max is not small." if negated is answer else "Max is small.")
    assert ("Zumpuses are small." if negated else "Zumpuses are not small.") in example.question


def test_every_rule_needs_a_wording() -> None:
    with pytest.raises(ValueError, match="zip"):
        render(ONTOLOGY, WORDING[:-1], random.Random(1), example_id="max")


def test_what_was_written_is_read_back() -> None:
    rng = random.Random(2)
    for _ in range(60):
        ontology = draw_ontology(OntologySpec(hops=(1, 7)), rng)
        example = render(ontology, draw_wording(ontology, rng), rng, example_id="x")
        assert read_facts(example.question, example.steps) == example.facts
        proof = [sentence for step in example.steps for sentence in sentences(step)]
        assert example.steps == paired(proof) and len(example.steps) == ontology.hops + 1
        assert proof_fault(example.question, proof, ontology.answer) is None
        assert proof_fault(example.question, proof, not ontology.answer) is not None


@pytest.mark.parametrize(
    ("sentence", "statement"),
    [
        ("Every impus is a lorpus.", Statement("impus", True, "lorpus", None)),
        ("Each wumpus is an impus.", Statement("wumpus", True, "impus", None)),
        ("Impuses are lorpuses.", Statement("impus", True, "lorpus", None)),
        ("Each impus is not hot.", Statement("impus", True, "", Property("hot", False))),
        ("Impuses are cold-blooded.", Statement("impus", True, "", Property("cold-blooded", True))),
        ("Max is an impus.", Statement("Max", False, "impus", None)),
        ("Max is not hot.", Statement("Max", False, "", Property("hot", False))),
        ("Every cat is a feline.", None),
        ("Cats are felines.", None),
        ("Every impus is a lorpus or a wumpus.", None),
        ("Max is not an impus.", None),
        ("Every impus is a lorpus", None),
        ("", None),
    ],
)
def test_reading_a_sentence(sentence: str, statement: Statement | None) -> None:
    assert read_statement(sentence) == statement


@pytest.mark.parametrize(
    ("question", "steps"),
    [
        (QUESTION.replace("Zumpuses are small.", "Cats are small."), PROOF),
        (QUESTION.replace("True or false: ", "Prove: "), PROOF),
        (QUESTION, [*PROOF, "So it is."]),
        (QUESTION.replace("false: Max is small.", "false: Max is a wumpus."), PROOF),
        (QUESTION.replace("false: Max is small.", "false: Each impus is small."), PROOF),
    ],
)
def test_other_sentences_leave_a_problem_unread(question: str, steps: list[str]) -> None:
    assert read_facts(QUESTION, PROOF) is not None
    assert read_facts(question, steps) is None


@pytest.mark.parametrize(
    ("proof", "fault"),
    [
        (PROOF[1:], "sentence 1 of the proof does not follow"),
        (["Max is a vumpus.", *PROOF[1:]], "sentence 1 of the proof is not in the question: 'Max is a vumpus.'"),
        ([PROOF[0], "Each impus is a wumpus.", *PROOF[2:]], "sentence 2 of the proof is not in the question"),
        ([PROOF[0], *PROOF[3:]], "sentence 2 of the proof does not follow from those before it: 'Each lorpus is not"),
        ([*PROOF[:2], "Max is a wumpus.", *PROOF[3:]], "sentence 3 of the proof does not follow"),
        ([*PROOF[:2], *PROOF[3:]], "sentence 3 of the proof does not follow"),
        ([*PROOF[:4], "Max is small."], "sentence 5 of the proof does not follow"),
        ([*PROOF[:1], *PROOF[2:]], "sentence 2 of the proof does not follow"),
        (["Max is a gorpus.", "Each gorpus is blue.", "Max is blue."], "does not end with what makes 'Max is small.'"),
        (PROOF[:4], "does not end with what makes 'Max is small.' False"),
        (PROOF[:3], "does not end"),
        ([], "does not end"),
    ],
)
def test_faults_of_a_proof(proof: list[str], fault: str) -> None:
    assert proof_fault(QUESTION, PROOF, False) is None
    said = proof_fault(QUESTION, proof, False)
    assert said is not None and fault in said


def test_another_order_changes_the_order_alone() -> None:
    example = render(ONTOLOGY, WORDING, random.Random(1), example_id="max")
    seen = [reordered(example, random.Random(seed)) for seed in range(8)]
    assert len({other.question for other in seen}) == 8
    for other in seen:
        assert replace(other, question=example.question) == example
        assert sorted(sentences(other.question)) == sorted(sentences(example.question))
        assert {*sentences(other.question)[-3:-1]} == {"Max is an impus.", "Max is a gorpus."}
    assert {sentences(other.question)[-2] for other in seen} == {"Max is an impus.", "Max is a gorpus."}


@pytest.mark.parametrize("spec", [OntologySpec(hops=(1, 1), concepts=6, families=3), OntologySpec(hops=(9, 9))])
def test_the_words_cover_all_that_is_written(spec: OntologySpec) -> None:
    tokenizer = build_word_tokenizer(surface_texts(spec))
    rng = random.Random(3)
    for chosen in (spec, OntologySpec()):
        for _ in range(40):
            ontology = draw_ontology(chosen, rng)
            example = render(ontology, draw_wording(ontology, rng), rng, example_id="x")
            for text in (example.question, *example.steps, example.answer):
                tokens = tokenizer.tokenize(text + "\n")
                assert not [token for token in tokens if token.startswith("<0x")]
                # One token a word, and one a mark with the white space behind it.
                assert len(tokens) == len(text.split()) + text.count(".") + text.count(":") + ("." not in text)
