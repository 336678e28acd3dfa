"""ProntoQA's problems as text, and what a text says of its ontology."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args

from lcot.datamodules.ontologies.generator import (
    ENTITIES,
    PUBLISHED_CONCEPTS,
    PUBLISHED_FAMILIES,
    Ontology,
    OntologySpec,
    Property,
)
from lcot.errors import shown
from lcot.metrics.surfaces import read_sentence
from lcot.reasoning.example import ReasoningExample

Wording = Literal["each", "every", "plural"]
"""How a rule is put: "Each wumpus is …", "Every wumpus is …", "Wumpuses are …"."""

QUERY = "True or false: "
"""Stands before the sentence that is to be judged."""

_SHARES = {"each": 1, "every": 1, "plural": 2}  # as the published generator draws them
_SENTENCE = re.compile(r"[^.\s][^.]*\.?")


class Statement(NamedTuple):
    """What a sentence says.

    Attributes:
        subject: A concept or an entity.
        rule: Whether the subject is a concept, that is everything that is one.
        parent: The concept that the subject is said to be; empty if a property is stated.
        said: The property that the subject is said to have; ``None`` if a parent is stated.
    """

    subject: str
    rule: bool
    parent: str
    said: Property | None


def draw_wording(ontology: Ontology, rng: random.Random) -> tuple[Wording, ...]:
    """A wording for each edge and for each stated property of a problem: plural for every second one."""
    return tuple(rng.choices(get_args(Wording), list(_SHARES.values()), k=len(ontology.edges) + len(ontology.stated)))


def render(
    ontology: Ontology, wording: Sequence[Wording], order_rng: random.Random, *, example_id: str
) -> ReasoningExample:
    """Write a problem as the published generator does.

    Args:
        ontology: The problem.
        wording: One for each of its edges, then one for each of its stated properties.
        order_rng: Shuffles the rules, and the two facts on the entity that follow them.
        example_id: The example's name.

    Returns:
        The example. Its steps are the sentences of the proof in consecutive pairs: what the entity is known to be, and
        the rule that is applied to it. The conclusion is left alone, hence one step more than hops. Its facts are those
        of :func:`read_facts`.

    Raises:
        ValueError: If there is not exactly one wording for each rule.
    """
    entity, hops = ontology.entity, ontology.hops
    predicates: list[tuple[str, str | Property]] = [*ontology.edges, *ontology.stated]
    rules = [_rule(concept, said, worded) for (concept, said), worded in zip(predicates, wording, strict=True)]
    members = [f"{entity} is {_kind_of(concept)}." for concept in (ontology.chain[0], ontology.apart[0])]
    asked_rule = rules[len(ontology.edges) + hops - 1]
    proof = [members[0]]
    for rule, concept in zip(rules[: hops - 1], ontology.chain[1:], strict=False):
        proof += [rule, f"{entity} is {_kind_of(concept)}."]
    proof += [asked_rule, f"{entity} is {_quality(ontology.asked)}."]
    query = f"{QUERY}{entity} is {_quality(ontology.query)}."
    facts = {
        "entity": entity,
        "members": sorted([ontology.chain[0], ontology.apart[0]]),
        "edges": sorted([list(edge) for edge in ontology.edges]),
        "properties": sorted([[concept, *said] for concept, said in ontology.stated]),
        "query": list(ontology.query),
        "chain": list(ontology.chain[:-1]),
    }
    question = _question(rules, members, query, order_rng)
    return ReasoningExample(question, paired(proof), str(ontology.answer), example_id, facts)


def paired(proof: Sequence[str]) -> tuple[str, ...]:
    """Reasoning steps: consecutive pairs of a proof's sentences; an odd number leaves the last one alone."""
    return tuple(" ".join(proof[first : first + 2]) for first in range(0, len(proof), 2))


def sentences(text: str) -> list[str]:
    """The sentences of a text, with their full stops."""
    return [found.strip() for found in _SENTENCE.findall(text)]


@lru_cache(maxsize=1 << 14)  # a file says the same things again and again
def read_statement(sentence: str) -> Statement | None:
    """What a sentence says; ``None`` if it is none of the forms that :func:`render` writes."""
    found = read_sentence(sentence)
    if found is None:
        return None
    rule, subject, parent, adjective, holds = found
    return Statement(subject, rule, parent, None if parent else Property(adjective, holds))


def read_facts(question: str, steps: Iterable[str]) -> dict[str, object] | None:
    """What a problem says, read from its text.

    Args:
        question: The facts and the query.
        steps: The proof.

    Returns:
        Lists of plain values, each sorted but for the chain, so that the order of the facts does not matter:

        - ``entity``: the one that is asked about; ``members``: the concepts that it is said to be;
        - ``edges``: ``[concept, parent]`` for "every *concept* is a *parent*";
        - ``properties``: ``[concept, adjective, holds]``;
        - ``query``: ``[adjective, holds]``, what is to be judged of the entity;
        - ``chain``: the concepts that the proof goes through.

        ``None`` if a sentence is of another form, as those of other ontologies and of other rules of deduction are.
    """
    facts, found, query = question.rpartition(QUERY)
    asked = read_statement(query.strip()) if found else None
    known = [read_statement(sentence) for sentence in sentences(facts)]
    proof = [read_statement(sentence) for step in steps for sentence in sentences(step)]
    if asked is None or asked.said is None or asked.rule or None in known or None in proof:
        return None
    said = [statement for statement in known if statement is not None]
    return {
        "entity": asked.subject,
        "members": sorted(fact.parent for fact in said if not fact.rule and fact.subject == asked.subject),
        "edges": sorted([fact.subject, fact.parent] for fact in said if fact.rule and fact.said is None),
        "properties": sorted([fact.subject, *fact.said] for fact in said if fact.rule and fact.said is not None),
        "query": list(asked.said),
        "chain": [fact.parent for fact in proof if fact is not None and not fact.rule and fact.said is None],
    }


def proof_fault(question: str, proof: Sequence[str], answer: bool) -> str | None:
    """What is wrong with a proof, of sentences that :func:`read_statement` reads.

    A proof is a fact on the entity, and then, in turns, a rule for what the entity was found to be last and what
    follows from it; fact and rules are stated in the question. It ends with the query's sentence if the answer is True,
    and with its contrary if it is False.

    Returns:
        A clause on the first fault, with the number of the sentence from 1; ``None`` for a proof without one.
    """
    known, _, query = question.rpartition(QUERY)
    stated = {read_statement(sentence) for sentence in sentences(known)}
    found: Statement | None = None
    rule: Statement | None = None
    for number, sentence in enumerate(proof, start=1):
        statement = read_statement(sentence)
        assert statement is not None
        if (found is None or statement.rule) and statement not in stated:
            return f"sentence {number} of the proof is not in the question: {shown(sentence, 120)}"
        if found is None:
            fits = not statement.rule
        elif rule is None:
            fits = statement.rule and statement.subject == found.parent
        else:
            fits = statement == Statement(found.subject, False, rule.parent, rule.said)
        if not fits:
            return f"sentence {number} of the proof does not follow from those before it: {shown(sentence, 120)}"
        found, rule = (found, statement) if statement.rule else (statement, None)
    asked = read_statement(query.strip())
    assert asked is not None and asked.said is not None
    wanted = asked._replace(said=Property(asked.said.adjective, asked.said.holds == answer))
    if rule is not None or found != wanted:
        return f"the proof does not end with what makes {shown(query.strip())} {answer}"
    return None


def negated(example: ReasoningExample) -> ReasoningExample:
    """A problem, whose facts could be read, with the contrary query: the proof is the same, and the answer another."""
    facts: dict[str, Any] = dict(example.facts)
    adjective, holds = facts["query"]
    said, _, _ = example.question.rpartition(QUERY)
    query = f"{QUERY}{facts['entity']} is {_quality(Property(adjective, not holds))}."
    answer = str(example.answer != "True")
    return replace(example, question=said + query, answer=answer, facts={**facts, "query": [adjective, not holds]})


def reordered(example: ReasoningExample, rng: random.Random) -> ReasoningExample:
    """A problem, whose facts could be read, with its rules and then its facts on the entity in another order."""
    facts, _, query = example.question.rpartition(QUERY)
    rules: list[str] = []
    members: list[str] = []
    for sentence in sentences(facts):
        statement = read_statement(sentence)
        assert statement is not None
        (rules if statement.rule else members).append(sentence)
    return replace(example, question=_question(rules, members, QUERY + query, rng))


def surface_texts(spec: OntologySpec) -> Iterator[str]:
    """Texts that hold every word and mark that :func:`render` can write, to build a word tokenizer from.

    All published words are among them, whatever is in play.
    """
    for concept in {*PUBLISHED_CONCEPTS, *spec.concept_names}:
        yield f"{concept} {_many(concept)} {_many(concept).capitalize()}"
    for family in {*PUBLISHED_FAMILIES, *spec.adjectives}:
        yield " ".join(family)
    yield " ".join(ENTITIES)
    yield "Each Every is a an are not True False. "
    yield f"{QUERY}Max"


def _question(rules: Sequence[str], members: Sequence[str], query: str, rng: random.Random) -> str:
    """All facts in a drawn order, those on the entity last, and the query."""
    shuffled = itertools.chain(*(rng.sample(part, len(part)) for part in (rules, members)))
    return " ".join([*shuffled, query])


def _rule(concept: str, predicate: str | Property, wording: Wording) -> str:
    if wording != "plural":
        what = _quality(predicate) if isinstance(predicate, Property) else _kind_of(predicate)
        return f"{wording.capitalize()} {concept} is {what}."
    what = _quality(predicate) if isinstance(predicate, Property) else _many(predicate)
    return f"{_many(concept).capitalize()} are {what}."


def _kind_of(concept: str) -> str:
    return f"{'an' if concept[0] in 'aeiou' else 'a'} {concept}"


def _quality(said: Property) -> str:
    return said.adjective if said.holds else f"not {said.adjective}"


def _many(concept: str) -> str:
    return f"{concept}es"
