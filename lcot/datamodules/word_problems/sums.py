"""Word problems of two or three chained sums of small numbers, in plain English, from a generator."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any, ClassVar, Literal, get_args

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.doubts import say_repeated
from lcot.datamodules.options import check_choice, split_sizes
from lcot.datamodules.pairs import Asked
from lcot.datamodules.rows import Source
from lcot.errors import UserError, shown
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random, keyed_seed

Redraw = Literal["none", "all"]
Ask = Literal["given", "both"]

PEOPLE = tuple("Anna Ben Carl Dan Frank Jack Jane Kim Lily Luke Maria Max Paul Rose Sam Tom".split())
"""First names that are one token of most tokenizers, at the beginning of a text and behind a space."""
THINGS = tuple(
    "apples balls beads books buttons cards coins cups eggs keys marbles nuts seeds shells stamps toys".split()
)

MOST_SUMS = len(PEOPLE) - 2
# Draws in a row before a generator gives up: enough to meet every problem that there is with few numbers.
_TRIES = 100_000


@dataclass(frozen=True, slots=True)
class Problem:
    """A chain of sums, and one more sum that begins where the chain's last one does.

    Attributes:
        amounts: What the people of the chain have, from the first one on.
        other: What one more person has, who is compared with the last but one of the chain.
    """

    amounts: tuple[int, ...]
    other: int

    @property
    def key(self) -> tuple[int, ...]:
        """The same for problems that differ in nothing but who of the two last people is asked about."""
        return (*self.amounts[:-1], *sorted((self.amounts[-1], self.other)))


def equation(before: int, behind: int) -> str:
    """The sum that leads from one number to another, such as ``12+7=19`` or ``19-5=14``."""
    return f"{before}{behind - before:+}={behind}"


def draw_problem(sums: tuple[int, int], largest: int, rng: Random) -> Problem:
    """A problem; what each of its people has is any number, with equal chances.

    Args:
        sums: Fewest and most sums.
        largest: Largest number.
        rng: Draws it.
    """
    amounts = [rng.randint(1, largest)]
    for _ in range(rng.randint(*sums)):
        amounts.append(_other_than(amounts[-1:], largest, rng))
    return Problem(tuple(amounts), _other_than(amounts[-2:], largest, rng))


def split_of(problem: Problem) -> Split:
    """The split that a problem belongs to, whichever of its two questions is asked: one in 16 to test, one to val."""
    sixteenth = keyed_seed("sums split", *problem.key) % 16
    if sixteenth > 1:
        return "train"
    return "val" if sixteenth else "test"


def render(
    problem: Problem, people: tuple[str, ...], thing: str, rng: Random, *, example_id: str, other: bool = False
) -> ReasoningExample:
    """Write a problem in words, each fact as one sentence, in a drawn order.

    12, 19, 14 and another 22, of Anna, Ben, Carl and another Dan:

        Ben has 7 more than Anna. Dan has 3 more than Ben. Anna has 12 shells. Carl has 5 fewer than Ben. How many
        shells does Carl have?
        Ben: 12+7=19
        Carl: 19-5=14

    Args:
        problem: The numbers.
        people: Who has them: those of the chain, then the one more.
        thing: What they have.
        rng: Draws the order of the sentences.
        example_id: The example's name.
        other: Whether the one more is asked about; all else stays as it is.

    Returns:
        The example. Its facts are a graph whose nodes are the people, from the one whose number is stated (``root``) to
        the one who is asked about (``target``); ``neg_target`` is the one who might be. ``amounts`` has each one's
        number.
    """
    amounts, last = [*problem.amounts, problem.other], len(problem.amounts) - 1
    target, untold = (last + 1, last) if other else (last, last + 1)
    chain = [*pairwise(range(last)), (last - 1, target)]
    edges = sorted([*chain, (last - 1, untold)])
    facts = [f"{people[0]} has {amounts[0]} {thing}."]
    for start, end in edges:
        more = amounts[end] - amounts[start]
        facts.append(f"{people[end]} has {abs(more)} {'more' if more > 0 else 'fewer'} than {people[start]}.")
    rng.shuffle(facts)
    graph = {"idx_to_symbol": list(people), "edges": [list(edge) for edge in edges], "amounts": amounts}
    return ReasoningExample(
        f"{' '.join(facts)} How many {thing} does {people[target]} have?",
        tuple(f"{people[end]}: {equation(amounts[start], amounts[end])}" for start, end in chain),
        str(amounts[target]),
        example_id,
        {**graph, "root": 0, "target": target, "neg_target": untold},
    )


class SumSource:
    """Problems that are written in words drawn for each.

    Args:
        sums: Fewest and most sums.
        largest: Largest number.
        size: How many problems.
        split: Whose they are.
        seed: Keys the draws.
        redraw: ``all`` draws other problems in each epoch.
        drawn: The problems; ``None`` draws each by its number, so that some may be the same.
    """

    def __init__(
        self,
        sums: tuple[int, int],
        largest: int,
        size: int,
        split: Split,
        seed: int,
        redraw: Redraw = "none",
        drawn: list[Problem] | None = None,
    ) -> None:
        self.sums, self.largest, self.size = sums, largest, size
        self.split, self.seed, self.redraw = split, seed, redraw
        self.drawn = drawn

    @property
    def redraws(self) -> bool:
        """Whether a problem differs from epoch to epoch."""
        return self.redraw == "all"

    def __len__(self) -> int:
        return self.size

    def problem(self, index: int, epoch: int) -> Problem:
        """The numbers of a problem as it is seen in an epoch.

        Raises:
            UserError: If the split has none.
        """
        if self.drawn is not None:
            return self.drawn[index]
        rng = self._random("numbers", index, epoch)
        for _ in range(_TRIES):
            problem = draw_problem(self.sums, self.largest, rng)
            if split_of(problem) == self.split:
                return problem
        raise _too_few(self.split, self.largest, 0, self.size)

    def question(self, index: int, epoch: int, other: bool) -> ReasoningExample:
        """The problem in words, as it is seen in an epoch, or the other question about the same facts."""
        problem = self.problem(index, epoch)
        words = self._random("words", index, epoch)
        people, thing = tuple(words.sample(PEOPLE, len(problem.amounts) + 1)), words.choice(THINGS)
        return render(problem, people, thing, words, example_id=f"{self.split}-{index}", other=other)

    def _random(self, what: str, index: int, epoch: int) -> Random:
        return keyed_random(what, *self.sums, self.largest, self.seed, self.split, epoch if self.redraws else 0, index)


def generate(sums: tuple[int, int], largest: int, seed: int, split: Split, count: int) -> list[Problem]:
    """The first ``count`` problems of validation or test, none of them twice, whichever of its questions is asked.

    Args:
        sums: Fewest and most sums.
        largest: Largest number.
        seed: Another seed gives other problems.
        split: ``val`` or ``test``.
        count: How many.

    Returns:
        The problems, in the order they were drawn: a smaller count gives the beginning.

    Raises:
        UserError: If there are not as many.
    """
    rng = keyed_random("numbers", *sums, largest, seed, split)
    found: dict[tuple[int, ...], Problem] = {}
    misses = 0
    while len(found) < count:
        problem = draw_problem(sums, largest, rng)
        if split_of(problem) == split and problem.key not in found:
            found[problem.key], misses = problem, 0
        elif (misses := misses + 1) == _TRIES:
            raise _too_few(split, largest, len(found), count)
    return list(found.values())


class Sums(ReasoningDataModule):
    """Word problems of a few chained sums, with one sum more that is not asked for.

        Ben has 7 more than Anna. Dan has 3 more than Ben. Anna has 12 shells. Carl has 5 fewer than Ben. How many
        shells does Carl have?

    Names, things and the order of the sentences are drawn; all numbers, the results among them, are from 1 to
    ``largest``, and each result is as frequent as any other. The one more sum begins where the last one does: who reads
    everything but the question cannot know which of the two is asked for.

    No problem is in two splits, whatever its people and things are called and however its sentences stand: its numbers
    decide where it belongs, with those of both questions about it.

    Args:
        sums: Fewest and most sums of a problem; each is a step.
        largest: Largest number.
        train_size: Problems of a training epoch.
        val_size: Validation problems, none of them twice.
        test_size: Test problems, none of them twice; also those that ``predict`` answers.
        ask: What validation and test ask of a problem: its ``given`` question, or ``both``: that one and, behind it,
            the one about the other person, whose answer is another. Pair accuracy is the share of problems with both
            right.
        redraw: What changes at each visit to a *training* problem: ``none``, or ``all`` of it.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`.

    Raises:
        UserError: If an option is out of range.
    """

    task: ClassVar[str] = "math"

    def __init__(
        self,
        sums: tuple[int, int] = (2, 3),
        largest: int = 39,
        train_size: int = 20000,
        val_size: int = 500,
        test_size: int = 1000,
        ask: Ask = "given",
        redraw: Redraw = "none",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if len(sums) != 2 or not 1 <= sums[0] <= sums[1] <= MOST_SUMS:
            raise UserError(
                f"sums is {shown(list(sums))}",
                where="data.sums",
                fix=f"give the fewest and the most, from 1 to {MOST_SUMS}, such as [2, 3]",
            )
        if largest < 3:
            raise UserError(
                f"largest is {largest}",
                where="data.largest",
                why="three people who are compared have three different numbers",
                fix="use 3 or more",
            )
        self.sums = (sums[0], sums[1])
        self.largest = largest
        self.sizes = split_sizes(train_size, val_size, test_size)
        check_choice("ask", ask, get_args(Ask))
        check_choice("redraw", redraw, get_args(Redraw))
        self.ask: Ask = ask
        self.redraw: Redraw = redraw

    def make_source(self, split: Split) -> Source:
        """Generate the split's problems.

        Raises:
            UserError: If there are not enough.
        """
        seed = self.keyed_by()
        if split == "train":
            different = sum(self.largest ** (count + 2) for count in range(self.sums[0], self.sums[1] + 1))
            say_repeated(self.sizes["train"], different, "problems of such numbers")
            source = SumSource(self.sums, self.largest, self.sizes["train"], "train", seed, self.redraw)
            return Asked(source, "given", seed, "train")
        part: Split = "test" if split == "predict" else split
        count = self.sizes[part]
        drawn = generate(self.sums, self.largest, seed, part, count)
        return Asked(SumSource(self.sums, self.largest, count, part, seed, drawn=drawn), self.ask, seed, part)

    def vocabulary(self) -> Iterable[str]:
        """All names, things and numbers, with the words of the sentences."""
        yield from PEOPLE
        yield from THINGS
        yield from map(str, range(1, self.largest + 1))
        for problem in (Problem((1, 2, 1), 3), Problem((3, 2, 3), 1)):
            example = render(problem, PEOPLE[:4], THINGS[0], Random(0), example_id="words")
            yield from self.text.pieces(example)
        yield from self.text.parts()


def _other_than(taken: Collection[int], largest: int, rng: Random) -> int:
    """A number from 1 on that is none of some, each of the others with equal chances."""
    number = rng.randint(1, largest - len(set(taken)))
    for used in sorted(set(taken)):
        number += number >= used
    return number


def _too_few(split: str, largest: int, found: int, count: int) -> UserError:
    return UserError(
        f"there are {found:,} {split} problems with numbers up to {largest}, and {count:,} are wanted",
        where=f"data.largest, data.sums and data.{split}_size",
        why="each stands in one split, and none twice in validation or test",
        fix="use larger numbers or more sums, or fewer problems",
    )
