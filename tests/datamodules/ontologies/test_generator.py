"""ProntoQA's generator: the published statistics, answers that can be proved, splits without leaks."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import mean

import pytest

from lcot.datamodules.ontologies import generator, text
from lcot.datamodules.ontologies.generator import (
    CONCEPTS,
    ENTITIES,
    FAMILIES,
    MOST_HOPS,
    Ontology,
    OntologySpec,
    OntologySplit,
    Property,
    draw_ontology,
    generate,
    renamed,
    split_of,
)
from lcot.datamodules.ontologies.text import draw_wording, render, sentences
from lcot.errors import UserError
from tests.datamodules.ontologies import oracle
from tests.datamodules.ontologies.oracle import Fact, Problem
from tests.places import SHARED

PUBLISHED = SHARED / "prontoqa" / "5hop_0shot_random.json"
SMALL = OntologySpec(hops=(1, 2), concepts=8, families=5)
Text = tuple[str, list[str], str]
"""Question with query, sentences of the proof, answer."""


def share(count: int, of: int) -> tuple[float, float]:
    """A band for a share: three standard errors of 800 drawn problems against the 300 published ones."""
    value = count / of
    return value, 3 * math.sqrt(value * (1 - value) / of * (1 + 300 / 800))


# Statistic → (value over the 300 published problems, half the width of its band).
BANDS = {
    "edges, plural": share(1644, 3300),
    "edges, Each": share(848, 3300),
    "properties, plural": share(1760, 3600),
    "properties, Each": share(949, 3600),
    "not, passed by": share(331, 1200),
    "not, asked for": share(142, 300),
    "not, elsewhere": share(593, 1800),
    "query, not": share(140, 300),
    "answer, True": share(146, 300),
    "proof's member first": share(152, 300),
    "contrary in the first half": share(172, 300),
    "proof's rules in order": (0.510, 0.042),  # 10 pairs a problem, which depend on each other
    "words of the question": (104.72, 0.87),
    "words of the proof": (43.42, 0.48),
}


def statistics(problems: Iterable[tuple[Problem, Text]]) -> dict[str, float]:
    """Every statistic of ``BANDS``."""
    seen: dict[str, list[float]] = {name: [] for name in BANDS}
    for problem, (question, proof, answer) in problems:
        place = {rule: number for number, rule in enumerate(problem.rules)}
        used = [said for said in problem.proof if said in place]
        contrary = (problem.asked[1], not used[-1][2])
        for rule, worded in zip(problem.rules, problem.wordings, strict=True):
            edge = rule[1].endswith("pus")
            for wording in ("plural", "Each"):
                seen[f"{'edges' if edge else 'properties'}, {wording}"].append(worded == wording)
            if rule[1:] == contrary:
                seen["contrary in the first half"].append(place[rule] <= 11)
            elif not edge:
                on_the_way = rule[0] in [said[0] for said in used[:-1]]
                where = "asked for" if rule == used[-1] else "passed by" if on_the_way else "elsewhere"
                seen[f"not, {where}"].append(not rule[2])
        seen["query, not"].append(not problem.asked[2])
        seen["answer, True"].append(answer == "True")
        seen["proof's member first"].append(problem.members[0] == problem.proof[0])
        for number, rule in enumerate(used):
            seen["proof's rules in order"] += [place[earlier] < place[rule] for earlier in used[:number]]
        seen["words of the question"].append(len(question.split()))
        seen["words of the proof"].append(sum(len(sentence.split()) for sentence in proof))
    return {name: mean(values) for name, values in seen.items()}


def outside(found: dict[str, float]) -> list[str]:
    return [
        f"{n}: {found[n]:.3f}, not {value:.3f} ± {half:.3f}"
        for n, (value, half) in BANDS.items()
        if abs(found[n] - value) > half
    ]


def written(ontology: Ontology, rng: random.Random) -> Text:
    example = render(ontology, draw_wording(ontology, rng), rng, example_id="x")
    return example.question, [sentence for step in example.steps for sentence in sentences(step)], example.answer


def drawn(spec: OntologySpec, count: int, seed: int = 20) -> list[tuple[Problem, Text]]:
    rng = random.Random(seed)
    texts = [written(draw_ontology(spec, rng), rng) for _ in range(count)]
    return [(oracle.read(question, proof), (question, proof, answer)) for question, proof, answer in texts]


def check_published_rules(problem: Problem, hops: int) -> None:
    """What holds of every published problem, with its 5 hops in place of ``hops``."""
    entity, adjective, _ = problem.asked
    edges = [rule for rule in problem.rules if rule[1].endswith("pus")]
    stated = [rule for rule in problem.rules if not rule[1].endswith("pus")]
    assert (len(edges), len(stated), len(problem.members)) == (2 * hops + 1, 2 * hops + 2, 2)
    assert all(holds for _, _, holds in (*edges, *problem.members)) and len(set(problem.rules)) == len(problem.rules)
    having = {concept: (adjective, holds) for concept, adjective, holds in stated}
    parents: dict[str, set[str]] = {}
    for concept, parent, _ in edges:
        parents.setdefault(concept, set()).add(parent)
    concepts = {*having, *parents, *(parent for _, parent, _ in edges)}
    assert len(having) == len(stated) and len(concepts) == 2 * hops + 4
    # The proof: a member, then a rule of the question and what follows from it, in turns.
    chain = [problem.proof[0][1], *(said[1] for said in problem.proof[2:-1:2])]
    assert problem.proof[0] in problem.members and len(chain) == hops and len(problem.proof) == 2 * hops + 1
    assert all(problem.proof[2 * n + 1] in problem.rules for n in range(hops))
    assert all(problem.proof[2 * n + 1][0] == chain[n] for n in range(hops))
    assert problem.proof[-1][:2] == (entity, adjective)
    # Two ways lead on from each concept of the chain, one of them off it; the top has no property.
    tops = parents[chain[-1]] - having.keys()
    assert len(tops) == 1
    way = [*chain, *tops]
    sides = [parents[concept] - {on} for concept, on in zip(chain, way[1:], strict=True)]
    assert all(len(parents[concept]) == 2 for concept in chain) and all(len(side) == 1 for side in sides)
    assert all(side <= having.keys() and not side & parents.keys() for side in sides)
    # A way that leads nowhere, and the contrary of what is asked for.
    (apart,) = {member[1] for member in problem.members} - {chain[0]}
    assert apart in having and len(parents[apart]) == 1 and not parents[apart] & {*having, *parents}
    (contrary,) = concepts - {*way, *set().union(*sides), apart, *parents[apart]}
    assert having[contrary] == (adjective, not having[chain[-1]][1])
    families = [n for who, (word, _) in having.items() if who != contrary for n, f in enumerate(FAMILIES) if word in f]
    assert len(set(families)) == len(families) == 2 * hops + 1


@pytest.fixture(scope="module")
def sample() -> list[tuple[Problem, Text]]:
    return drawn(OntologySpec(), 800)


@pytest.fixture(scope="module")
def published() -> list[tuple[Problem, Text]]:
    if not PUBLISHED.is_file():
        pytest.skip("needs 5hop_0shot_random.json of published ProntoQA")
    records = [entry["test_example"] for entry in json.loads(PUBLISHED.read_text(encoding="utf-8")).values()]
    texts = [(f"{r['question']} {r['query']}", r["chain_of_thought"], r["answer"]) for r in records]
    return [(oracle.read(question, proof), (question, proof, answer)) for question, proof, answer in texts]


def test_statistics_are_those_of_the_published_problems(sample: list[tuple[Problem, Text]]) -> None:
    assert not outside(statistics(sample))


def test_the_published_file_lies_in_the_same_bands(published: list[tuple[Problem, Text]]) -> None:
    assert len(published) == 300
    found = statistics(published)
    assert not outside(found)
    assert all(found[name] == pytest.approx(value, abs=0.005) for name, (value, _) in BANDS.items())


def test_problems_keep_the_rules_of_the_published_ones(
    sample: list[tuple[Problem, Text]], published: list[tuple[Problem, Text]]
) -> None:
    for problem, (_, proof, _) in (*sample[:300], *published):
        assert len(problem.rules) + len(problem.members) == 25 and len(proof) == 11
        check_published_rules(problem, hops=5)


def test_published_answers_can_be_proved(published: list[tuple[Problem, Text]]) -> None:
    for problem, (_, _, answer) in published:
        assert oracle.verdict(problem) == answer and not oracle.contradictions(problem)


@pytest.mark.parametrize("hops", [1, 2, 5, 6, 9, MOST_HOPS])
def test_answers_can_be_proved_at_any_length(hops: int) -> None:
    for problem, (_, _, answer) in drawn(OntologySpec(hops=(hops, hops)), 60 if hops < 10 else 1):
        check_published_rules(problem, hops)
        assert oracle.verdict(problem) == answer and not oracle.contradictions(problem)
        known = oracle.derived(problem)
        assert set(problem.proof[::2]) <= known and len(known) == 2 + (2 * hops + 1) + (2 * hops + 1)


def test_the_check_by_brute_force_finds_what_is_wrong() -> None:
    facts = "Each wumpus is hot. Max is a wumpus. True or false: Max is hot."
    assert oracle.verdict(oracle.read(facts, [])) == "True"
    assert oracle.verdict(oracle.read(facts.replace("Max is hot", "Max is not hot"), [])) == "False"
    assert oracle.verdict(oracle.read(facts.replace("Each wumpus", "Each lorpus"), [])) is None
    for more, fault in (("not hot", 1), ("cold", 1), ("not cold", 0), ("opaque", 0)):
        both = oracle.read(f"Wumpuses are {more}. {facts}", [])
        assert len(oracle.contradictions(both)) == fault
        assert oracle.verdict(both) == (None if more == "not hot" else "True")


@pytest.mark.parametrize("source", ["sample", "published"])
def test_all_words_are_equally_likely(source: str, request: pytest.FixtureRequest) -> None:
    problems: list[tuple[Problem, Text]] = request.getfixturevalue(source)
    seen: Counter[str] = Counter()
    for problem, _ in problems:
        seen.update({word for rule in (*problem.rules, problem.asked) for word in rule[:2]})
    count = len(problems)
    expected = {
        **dict.fromkeys(ENTITIES, 1 / 9),
        **dict.fromkeys(CONCEPTS[:17], 14 / 17),
        **{word: 11 / 13 / len(family) for family in FAMILIES[:13] for word in family},
    }
    assert seen.keys() == expected.keys()
    far = {
        w: seen[w] / count for w, p in expected.items() if abs(seen[w] / count - p) > 4 * (p * (1 - p) / count) ** 0.5
    }
    assert not far


@pytest.mark.parametrize(
    ("place", "name", "value", "broken"),
    [
        (generator, "_NEGATED", 0.5, "not, elsewhere"),
        (generator, "_STOPS", {"affirmed": 0.3, "negated": 0.3}, "not, asked for"),
        (text, "_SHARES", {"each": 1, "every": 1, "plural": 1}, "edges, plural"),
    ],
)
def test_other_rules_leave_the_bands(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, value: object, broken: str
) -> None:
    monkeypatch.setattr(place, name, value)
    missed = outside(statistics(drawn(OntologySpec(), 400)))
    assert any(line.startswith(broken) for line in missed), missed


def contents(ontology: Ontology) -> frozenset[Fact]:
    """All that a problem says of its concepts, without order, wording, entity and query."""
    rng = random.Random(0)
    question, proof, _ = written(ontology, rng)
    return frozenset(oracle.read(question, proof).rules)


def proof_of(ontology: Ontology) -> tuple[str, ...]:
    """The concepts that a proof goes through, and the adjective that it ends with."""
    question, proof, _ = written(ontology, random.Random(0))
    problem = oracle.read(question, proof)
    return (*(said[1] for said in problem.proof[::2]),)


def test_no_proof_is_in_two_splits_whatever_seed_and_size() -> None:
    splits: dict[OntologySplit, int] = {"train": 400, "val": 40, "test": 40}
    keys: dict[str, set[tuple[str, ...]]] = {}
    facts: dict[str, set[frozenset[Fact]]] = {}
    for seed, (split, count) in enumerate(splits.items()):
        for spec in (SMALL, OntologySpec()):
            problems = generate(spec, seed, split, count)
            assert len(problems) == count and {split_of(problem) for problem in problems} == {split}
            keys.setdefault(split, set()).update(proof_of(problem) for problem in problems)
            facts.setdefault(split, set()).update(contents(problem) for problem in problems)
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not keys[one] & keys[other] and not facts[one] & facts[other]
    assert len(facts["val"]) == len(facts["test"]) == 80


def test_the_split_depends_on_the_proof_alone() -> None:
    rng = random.Random(4)
    for _ in range(50):
        one, other = (draw_ontology(OntologySpec(hops=(3, 3)), rng) for _ in range(2))
        moved = replace(other, chain=(*one.chain[:-1], other.chain[-1]), properties=one.properties, entity="Zoe")
        assert split_of(moved) == split_of(one)
        negated = [Property(said.adjective, not said.holds) for said in one.properties]
        assert split_of(replace(one, properties=tuple(negated), answer=not one.answer)) == split_of(one)
    drawn_splits = Counter(split_of(draw_ontology(OntologySpec(), rng)) for _ in range(1600))
    assert drawn_splits["test"] == pytest.approx(100, abs=35)
    assert drawn_splits["val"] == pytest.approx(100, abs=35)


def test_a_split_without_enough_problems_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator, "_TRIES", 20)
    with pytest.raises(
        UserError, match="no further problem of the test split with hops=\\(1, 2\\) in 20 draws"
    ) as caught:
        generate(SMALL, 0, "test", 400)
    assert caught.value.where == "hops, concepts, families" and caught.value.fix is not None
    found = int(caught.value.fix.rpartition("lower test_size to ")[2])
    assert len(generate(SMALL, 0, "test", found)) == found


def test_renaming_keeps_the_shape_and_the_split() -> None:
    rng = random.Random(5)
    for ontology in generate(OntologySpec(hops=(1, 5)), 0, "train", 40):
        other = renamed(OntologySpec(hops=(1, 5)), ontology, "train", rng)
        assert split_of(other) == "train" and other.chain != ontology.chain
        assert (other.hops, other.answer) == (ontology.hops, ontology.answer)
        assert [said.holds for said in other.properties] == [said.holds for said in ontology.properties]


def test_a_renaming_that_no_split_takes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ontology = draw_ontology(SMALL, random.Random(0))
    monkeypatch.setattr(generator, "split_of", lambda _: "val")
    with pytest.raises(UserError, match="no further problem of the train split"):
        renamed(SMALL, ontology, "train", random.Random(0))


def test_generation_depends_on_its_arguments_alone() -> None:
    random.seed(5)
    state = random.getstate()
    problems = generate(SMALL, 7, "train", 30)
    assert random.getstate() == state
    assert generate(SMALL, 7, "train", 10) == problems[:10]
    assert generate(SMALL, 8, "train", 30) != problems
    assert generate(OntologySpec(hops=(1, 2), concepts=9, families=5), 7, "train", 30) != problems
    # Written down so that another release or platform cannot quietly train on other data.
    held = [Property(word, True) for word in ("luminous", "transparent", "small")]
    chain, apart = ("impus", "jompus"), ("dumpus", "gorpus")
    assert problems[0] == Ontology("Alex", chain, ("lempus",), apart, "lorpus", tuple(held), True)


@pytest.mark.parametrize(
    ("make", "where", "words"),
    [
        (lambda: OntologySpec(hops=(3, 2)), "hops", "(3, 2)"),
        (lambda: OntologySpec(hops=(0, 2)), "hops", "whole numbers from 1"),
        (lambda: OntologySpec(hops=(1, MOST_HOPS + 1)), "hops", f"from 1 to {MOST_HOPS}"),
        (lambda: OntologySpec(hops=(1, 2.5)), "hops", "whole numbers"),  # type: ignore[arg-type]
        (lambda: OntologySpec(hops=(1, 5), concepts=13), "concepts", "takes 14, and there are"),
        (lambda: OntologySpec(hops=(1, 5), families=10), "families", "takes 11, and there are"),
        (lambda: OntologySpec(concepts=len(CONCEPTS) + 1), "concepts", f"from 14 to {len(CONCEPTS)}, or null"),
        (lambda: OntologySpec(families=True), "families", "families is True"),
    ],
)
def test_impossible_settings_are_named(make: Callable[[], object], where: str, words: str) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert caught.value.where == where
    assert words in str(caught.value)


def test_the_longest_chains_find_words() -> None:
    spec = OntologySpec(hops=(MOST_HOPS, MOST_HOPS))
    ontology = draw_ontology(spec, random.Random(0))
    assert ontology.hops == MOST_HOPS and len(ontology.chain) == MOST_HOPS + 1
    assert len({*ontology.chain, *ontology.sides, *ontology.apart, ontology.contrary}) == 2 * MOST_HOPS + 4
    words = [*CONCEPTS, *(word for family in FAMILIES for word in family), *ENTITIES]
    assert len(set(words)) == len(words)
