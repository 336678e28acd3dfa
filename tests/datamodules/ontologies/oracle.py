"""ProntoQA problems read and solved by brute force from their text alone, with nothing of the package's."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

FAMILIES = [
    set(family.split())
    for family in (
        "blue red brown orange/small large/metallic wooden luminous liquid/transparent opaque/nervous happy feisty shy/"
        "bright dull/sweet sour spicy bitter/floral fruity earthy/hot cold temperate/kind mean angry amenable "
        "aggressive/melodic muffled discordant loud/slow moderate fast/windy sunny overcast rainy snowy"
    ).split("/")
]
"""The adjectives that exclude each other, as they are observed in the published file."""

_FAMILY = {adjective: min(family) for family in FAMILIES for adjective in family}

Fact = tuple[str, str, bool]
"""Who, what (a concept or an adjective), and whether it is so."""


@dataclass
class Problem:
    """What a text says.

    Attributes:
        rules: Every subject of the first kind is (not) a second.
        wordings: How each rule begins: Each, Every, or nothing of the two.
        members: What is said of the entity, in the question.
        asked: What is to be judged.
        proof: What the chain says, in order.
    """

    rules: list[Fact] = field(default_factory=list)
    wordings: list[str] = field(default_factory=list)
    members: list[Fact] = field(default_factory=list)
    asked: Fact = ("", "", True)
    proof: list[Fact] = field(default_factory=list)


def fact(sentence: str) -> Fact:
    """One sentence in the form (who, what, whether), all nouns in the singular."""
    assert sentence.endswith("."), sentence
    words = sentence[:-1].split(" ")
    assert all(words), sentence
    if words[0] in ("Each", "Every"):
        words = words[1:]
        assert words[1] == "is", sentence
    elif words[1] == "are":
        assert words[0].endswith("puses") and words[0][0].isupper(), sentence
        words[0] = words[0][:-2].lower()
        assert not any(word in ("a", "an") for word in words)
        words[-1] = re.sub("puses$", "pus", words[-1])
    else:
        assert words[1] == "is" and words[0][0].isupper() and not words[0].endswith("pus"), sentence
    who, _, *said = words
    holds = said[0] != "not"
    said = said if holds else said[1:]
    if said[0] in ("a", "an"):
        assert (said[0] == "an") == (said[1][0] in "aeiou") and said[1].endswith("pus"), sentence
        said = said[1:]
    assert len(said) == 1, sentence
    return who, said[0], holds


def read(question: str, proof: list[str]) -> Problem:
    """Read a question with its query, and the sentences of a proof."""
    facts, found, query = question.partition(" True or false: ")
    assert found
    problem = Problem(asked=fact(query), proof=[fact(sentence) for sentence in proof])
    for sentence in re.split(r"(?<=\.) ", facts):
        said = fact(sentence)
        if said[0] == problem.asked[0]:
            problem.members.append(said)
        else:
            assert not problem.members, "the facts on the entity stand last"
            problem.rules.append(said)
            problem.wordings.append(sentence.split(" ")[0] if sentence.startswith("E") else "plural")
    return problem


def derived(problem: Problem) -> set[Fact]:
    """All that follows for the entity: forward chaining until nothing is new."""
    known = set(problem.members)
    while True:
        new = {
            (who, said, holds)
            for who, concept, is_so in known
            if is_so
            for subject, said, holds in problem.rules
            if subject == concept
        }
        if new <= known:
            return known
        known |= new


def verdict(problem: Problem) -> str | None:
    """True or False, whichever can be derived; ``None`` if neither or both can."""
    who, what, holds = problem.asked
    known = derived(problem)
    is_true, is_false = (who, what, holds) in known, (who, what, not holds) in known
    return None if is_true == is_false else str(is_true)


def contradictions(problem: Problem) -> list[tuple[Fact, Fact]]:
    """Pairs of derived facts that exclude each other: x and not x, or two affirmed adjectives of one family."""
    together: dict[str, list[Fact]] = {}
    for said in sorted(derived(problem)):
        together.setdefault(_FAMILY.get(said[1], said[1]), []).append(said)
    return [
        (one, other)
        for facts in together.values()
        for one, other in itertools.combinations(facts, 2)
        if (one[1] == other[1] and one[2] != other[2]) or (one[1] != other[1] and one[2] and other[2])
    ]
