"""ProntoQA's fictional ontologies: drawing them, naming them, and keeping the splits apart.

The problems are those of PrOntoQA (arXiv 2210.01240) as the Coconut paper uses them: 5 hops, distractors, random order.
One shape fits all of them, and that of a published one with h hops was measured to be (300 records of the file that
``run_experiment.py`` of asaparov/prontoqa writes, with the options of the Coconut README; h = 5):

    Max is a c0. Every c0 is a c1. … Every c(h-1) is a ch.       the chain; the last concept is the top
    Every ci is a di.                                            a side way at each of the h concepts below the top
    Max is an e. Every e is an f.                                a way that leads nowhere
    c0 … c(h-1), d0 … d(h-1) and e have a property each; that of c(h-1) is asked for
    Every g is (not) …                                           the contrary of that property, for an unrelated concept

- Facts: 25 in every record; 11 edges, 12 properties, and the two facts on the entity, which always stand last, either
  one first (.51). The other 23 stand in any order.
- Names: 14 of 17 concepts, one of 9 entities, 11 of 13 families of adjectives that exclude each other, one adjective of
  each; all are equally likely. No two properties are of one family, but for the contrary.
- Wording: plural .49, "Each" .26, "Every" .25, for edges as for properties; "an" before a vowel.
- "not": in .276 of the properties that the proof passes by, .473 of those that are asked for, .329 of all others. The
  published generator negates one property in three; walking up, it stops at an affirmed one with probability .3/1.3 and
  at a negated one with .7/1.7. The shares .277, .472 and .333 follow from that, and are used here.
- Answers: True in .49. The query says "not" in .47.

``tests/datamodules/test_ontologies.py`` holds the bands. Problems of other lengths have the same shape.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lcot.datamodules.graphs.generator import CONCEPTS as _PROSQA_CONCEPTS
from lcot.errors import UserError
from lcot.reasoning.keyed import keyed_random, keyed_seed

OntologySplit = Literal["train", "val", "test"]

ENTITIES: tuple[str, ...] = tuple("Alex Fae Max Polly Rex Sally Sam Stella Wren".split())
"""The 9 names of published ProntoQA for the one that is asked about."""

PUBLISHED_CONCEPTS: tuple[str, ...] = tuple(
    "brimpus dumpus gorpus grimpus impus jompus lempus lorpus numpus rompus shumpus sterpus tumpus vumpus wumpus "
    "yumpus zumpus".split()
)
"""The 17 concepts of published ProntoQA; all of them are concepts of ProsQA, too."""

PUBLISHED_FAMILIES: tuple[tuple[str, ...], ...] = tuple(
    tuple(family.split())
    for family in (
        "blue brown orange red",
        "large small",
        "liquid luminous metallic wooden",
        "opaque transparent",
        "feisty happy nervous shy",
        "bright dull",
        "bitter sour spicy sweet",
        "earthy floral fruity",
        "cold hot temperate",
        "aggressive amenable angry kind mean",
        "discordant loud melodic muffled",
        "fast moderate slow",
        "overcast rainy snowy sunny windy",
    )
)
"""The 45 adjectives of published ProntoQA; those of one family exclude each other."""

# Chains that need more words than were published take ProsQA's, then made-up ones of the same style.
_ONSETS = tuple(
    "b bl br d dr f fl fr g gl gr gw h j k kl kr l m n p pl pr qu r s scr sk sl sm sn sp spl str t thr".split()
)
_RIMES = ("elp", "olp", "ulp", "irp", "erp", "arp")
_ENDINGS = (("elgic", "ondrine"), ("umvid", "alvent"), ("ilmous", "orbish"), ("ankric", "oosty"))

CONCEPTS: tuple[str, ...] = tuple(
    dict.fromkeys(
        [
            *PUBLISHED_CONCEPTS,
            *_PROSQA_CONCEPTS,
            *(f"{onset}{rime}us" for rime in _RIMES for onset in _ONSETS),
        ]
    )
)
"""All concepts, the published ones first."""

FAMILIES: tuple[tuple[str, ...], ...] = (
    *PUBLISHED_FAMILIES,
    *(tuple(onset + ending for ending in endings) for endings in _ENDINGS for onset in _ONSETS),
)
"""All families of adjectives, the published ones first."""

_NEGATED = 1 / 3  # of all properties that are drawn
# How often the published generator, walking up from the entity, ends a proof at a concept by the property that it has.
_STOPS = {"affirmed": 0.3 / 1.3, "negated": 0.7 / 1.7}
_TRIES = 5_000


class Property(NamedTuple):
    """An adjective, and whether it holds.

    Attributes:
        adjective: One word.
        holds: False for "not".
    """

    adjective: str
    holds: bool


@dataclass(frozen=True)
class OntologySpec:
    """What the problems of a data set look like.

    Attributes:
        hops: Fewest and most rules that a proof applies, uniformly; a problem of h hops has 4h + 5 facts and h + 1
            reasoning steps.
        concepts: How many concept names are in play, 2h + 4 at least; ``None`` for the 17 published ones, or as many as
            the longest chain takes.
        families: How many families of adjectives are in play, 2h + 1 at least; ``None`` for the 13 published ones, or
            as many as the longest chain takes.

    Raises:
        UserError: If a number is out of range, or too small for the longest chain.
    """

    hops: tuple[int, int] = (5, 5)
    concepts: int | None = None
    families: int | None = None

    def __post_init__(self) -> None:
        if not _is_range(self.hops):
            raise UserError(
                f"hops is {self.hops!r}",
                where="hops",
                fix=f"give (fewest, most), whole numbers from 1 to {MOST_HOPS}",
            )
        object.__setattr__(self, "hops", tuple(self.hops))  # lists come from stored settings
        for name, needed, known in (
            ("concepts", _concepts_of(self.hops[1]), len(CONCEPTS)),
            ("families", _families_of(self.hops[1]), len(FAMILIES)),
        ):
            given = getattr(self, name)
            if given is not None and (type(given) is not int or not needed <= given <= known):
                raise UserError(
                    f"{name} is {given!r}",
                    where=name,
                    why=f"a problem of {self.hops[1]} hops takes {needed}, and there are {known}",
                    fix=f"give a whole number from {needed} to {known}, or null",
                )

    @property
    def concept_names(self) -> tuple[str, ...]:
        """The concepts that a problem can have."""
        return CONCEPTS[: self.concepts or max(len(PUBLISHED_CONCEPTS), _concepts_of(self.hops[1]))]

    @property
    def adjectives(self) -> tuple[tuple[str, ...], ...]:
        """The families that a problem takes its properties from."""
        return FAMILIES[: self.families or max(len(PUBLISHED_FAMILIES), _families_of(self.hops[1]))]


@dataclass(frozen=True, slots=True)
class Ontology:
    """An ontology, an entity in it, and what is asked about it: everything but the words around the names.

    Attributes:
        entity: The one that is asked about.
        chain: The h + 1 concepts of the proof: the entity is a ``chain[0]``, and every one is one of the next.
        sides: Another h concepts: every ``chain[i]`` is a ``sides[i]``, too.
        apart: A concept that the entity is as well, and one that every such is; the proof needs neither.
        contrary: A concept that has the contrary of the asked property, and that nothing else is said of.
        properties: One of each concept in ``chain[:-1]``, ``sides`` and ``apart[:1]``, in this order: 2h + 1.
        answer: Whether the query says what holds.
    """

    entity: str
    chain: tuple[str, ...]
    sides: tuple[str, ...]
    apart: tuple[str, str]
    contrary: str
    properties: tuple[Property, ...]
    answer: bool

    @property
    def hops(self) -> int:
        """How many rules the proof applies: h - 1 edges and the asked property."""
        return len(self.sides)

    @property
    def asked(self) -> Property:
        """What holds of the entity in the matter that is asked about."""
        return self.properties[self.hops - 1]

    @property
    def query(self) -> Property:
        """What the query says of the entity."""
        return Property(self.asked.adjective, self.asked.holds == self.answer)

    @property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """(concept, parent) pairs, "every *concept* is a *parent*": the chain, the side ways, the way apart."""
        return (*itertools.pairwise(self.chain), *zip(self.chain[:-1], self.sides, strict=True), self.apart)

    @property
    def stated(self) -> tuple[tuple[str, Property], ...]:
        """All concepts with a property, the contrary last."""
        having = (*self.chain[:-1], *self.sides, self.apart[0])
        opposite = Property(self.asked.adjective, not self.asked.holds)
        return (*zip(having, self.properties, strict=True), (self.contrary, opposite))

    @property
    def proof(self) -> tuple[str, ...]:
        """What a proof is told apart by: the concepts below the top, and the adjective that is asked about."""
        return (*self.chain[:-1], self.asked.adjective)


def draw_ontology(spec: OntologySpec, rng: random.Random) -> Ontology:
    """Draw one problem; every random choice comes from ``rng``."""
    hops = rng.randint(*spec.hops)
    passed, asked = _negated_shares()
    shares = [*[passed] * (hops - 1), asked, *[_NEGATED] * (hops + 1)]
    holds = [rng.random() >= share for share in shares]
    return _named(spec, holds, rng.random() < 0.5, rng)


def renamed(spec: OntologySpec, ontology: Ontology, split: OntologySplit, rng: random.Random) -> Ontology:
    """The same problem about another entity, with other concepts and adjectives, and in the split that is asked for.

    Args:
        spec: Which names are in play.
        ontology: The problem. Its length, what is negated in it, and its answer stay.
        split: Where the renamed problem belongs.
        rng: Every random choice comes from it.

    Raises:
        UserError: If none of 5,000 draws belongs to the split.
    """
    holds = [held.holds for held in ontology.properties]
    for _ in range(_TRIES):
        drawn = _named(spec, holds, ontology.answer, rng)
        if split_of(drawn) == split:
            return drawn
    raise _too_few(spec, split, 0, 1)


def split_of(ontology: Ontology) -> OntologySplit:
    """The split that a proof belongs to, whatever stands around it: one in 16 to test, one in 16 to validation."""
    sixteenth = keyed_seed("ontology split", *ontology.proof) % 16
    if sixteenth > 1:
        return "train"
    return "val" if sixteenth else "test"


def generate(spec: OntologySpec, seed: int, split: OntologySplit, count: int) -> list[Ontology]:
    """The first ``count`` problems of a split.

    No proof is in two splits, whatever the seeds, sizes and specifications: its concepts and the adjective that is
    asked about decide where it belongs, so no problem occurs in two either. Validation and test hold no ontology twice,
    not with another entity or query; training may repeat one. A smaller count gives the beginning of what a larger one
    gives.

    Args:
        spec: What the problems look like.
        seed: Another seed gives other problems.
        split: ``train``, ``val`` or ``test``.
        count: How many.

    Returns:
        The problems, in the order they were drawn.

    Raises:
        UserError: If there are not as many problems of this split.
    """
    words = (len(spec.concept_names), len(spec.adjectives))
    rng = keyed_random("ontologies", spec.hops, *words, seed, split)
    ontologies: list[Ontology] = []
    seen: set[object] = set()
    misses = 0
    while len(ontologies) < count:
        drawn = draw_ontology(spec, rng)
        facts = (drawn.edges, drawn.stated) if split != "train" else len(ontologies)
        if split_of(drawn) == split and facts not in seen:
            ontologies.append(drawn)
            seen.add(facts)
            misses = 0
        elif (misses := misses + 1) == _TRIES:
            raise _too_few(spec, split, len(ontologies), count)
    return ontologies


def _named(spec: OntologySpec, holds: Sequence[bool], answer: bool, rng: random.Random) -> Ontology:
    """Draw the words of a problem, none of them twice; ``holds`` says of its 2h + 1 properties which are affirmed."""
    hops = (len(holds) - 1) // 2
    names = iter(rng.sample(spec.concept_names, _concepts_of(hops)))
    families = rng.sample(spec.adjectives, _families_of(hops))
    chain, sides = (tuple(itertools.islice(names, length)) for length in (hops + 1, hops))
    properties = tuple(Property(rng.choice(family), held) for family, held in zip(families, holds, strict=True))
    apart, contrary = (next(names), next(names)), next(names)
    return Ontology(rng.choice(ENTITIES), chain, sides, apart, contrary, properties, answer)


def _negated_shares() -> tuple[float, float]:
    """How often a property is negated that a proof passes by, and one that it ends with."""
    negated, affirmed = _NEGATED * _STOPS["negated"], (1 - _NEGATED) * _STOPS["affirmed"]
    passed = _NEGATED - negated, 1 - _NEGATED - affirmed
    return passed[0] / sum(passed), negated / (negated + affirmed)


def _concepts_of(hops: int) -> int:
    """How many concepts a problem has: h + 1 in the chain, h at its side, two apart and the contrary one."""
    return 2 * hops + 4


def _families_of(hops: int) -> int:
    """How many families the properties of a problem come from."""
    return 2 * hops + 1


MOST_HOPS = min((len(CONCEPTS) - 4) // 2, (len(FAMILIES) - 1) // 2)
"""The longest chain that there are words for."""


def _is_range(value: object) -> bool:
    if not isinstance(value, tuple | list) or len(value) != 2 or any(type(bound) is not int for bound in value):
        return False
    return bool(1 <= value[0] <= value[1] <= MOST_HOPS)


def _too_few(spec: OntologySpec, split: OntologySplit, found: int, count: int) -> UserError:
    return UserError(
        f"no further problem of the {split} split with hops={spec.hops} in {_TRIES:,} draws",
        where="hops, concepts, families",
        why=f"so few words make few proofs, and {found} of {count} problems were found",
        fix="raise concepts or families" + (f", or lower {split}_size to {found}" if found else ""),
    )
