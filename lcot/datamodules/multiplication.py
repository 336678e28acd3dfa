"""Products of two numbers by partial products, digits reversed: the task of iCoT (arXiv 2405.14838, section 4)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import accumulate, islice
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Literal, get_args

from lcot.datamodules.base import ReasoningDataModule, Split
from lcot.datamodules.digits import changed
from lcot.datamodules.doubts import say_repeated
from lcot.datamodules.options import check_choice, split_sizes
from lcot.datamodules.rows import ListSource, Source
from lcot.datamodules.word_problems.text_records import read_arithmetic_lines
from lcot.errors import DataError, UserError, shown
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random, keyed_seed
from lcot.reasoning.text import TextFormat

Redraw = Literal["none", "all"]
Ask = Literal["given", "both"]

PUBLISHED_TEXT = TextFormat(after_question="||", after_step=" ", before_answer="#### ")
"""Joins question, steps and answer to a line of the published files."""

# Misses in a row before a generator gives up: enough to meet every pair of two-digit factors.
_TRIES = 100_000
MOST_DIGITS = 1000
"""Of a factor; Python writes no number of more than 4,300."""

_QUESTION = re.compile(r"([0-9](?: [0-9])*) \* ([0-9](?: [0-9])*)")


def render(first: int, second: int, digits: tuple[int, int], *, example_id: str) -> ReasoningExample:
    """Write a product as the published files do: a digit is a word, the least significant one comes first.

        365 × 28   →   5 6 3 * 8 2   →   0 2 9 2  ,  + 0 0 3 7 0   →   0 2 2 0 1

    One step is one digit of the second factor: its partial product, and behind it, in parentheses, the sum so far.
    The first step has no sum, which would repeat it, nor has the last, whose sum is the answer. Partial product i (from
    0) and its sum have i + 1 digits more than the first factor, zeros included; the answer has as many digits as both
    factors together.

    Args:
        first: The first factor.
        second: The second factor.
        digits: Digits of the two factors; a shorter number gets leading zeros, which the reversed text ends with.
        example_id: The example's name.

    Returns:
        The example. Its facts are plain numbers: ``factors``, ``product``, ``partial_products`` (each times its power
        of ten) and ``running_sums``, one for each step; the last sum is the product.

    Raises:
        ValueError: If a factor is negative, or has more digits than it may.
    """
    for factor, width in zip((first, second), digits, strict=True):
        if not 0 <= factor < 10**width:
            raise ValueError(f"{factor} is no number of at most {width} digits")
    multipliers = [second // 10**place % 10 for place in range(digits[1])]
    partials = [first * digit * 10**place for place, digit in enumerate(multipliers)]
    sums = list(accumulate(partials))
    steps = []
    for place, (partial, total) in enumerate(zip(partials, sums, strict=True)):
        width = digits[0] + 1 + place
        step = _spelled(partial, width)
        if place > 0:
            step = f"+ {step}"
            if place < digits[1] - 1:
                step += f" ( {_spelled(total, width)} )"
        steps.append(step)
    product = first * second
    facts = {"factors": [first, second], "product": product, "partial_products": partials, "running_sums": sums}
    question = f"{_spelled(first, digits[0])} * {_spelled(second, digits[1])}"
    return ReasoningExample(question, tuple(steps), _spelled(product, sum(digits)), example_id, facts)


def split_of(first: int, second: int) -> Split:
    """The split that a product belongs to, in either order of its factors: one in 16 to test, one to validation."""
    sixteenth = keyed_seed("product split", *_unordered(first, second)) % 16
    if sixteenth > 1:
        return "train"
    return "val" if sixteenth else "test"


class DrawnProducts:
    """Training products, drawn by their number and, where they are redrawn, by the epoch.

    Args:
        digits: Digits of the two factors.
        size: How many products an epoch has.
        redraw: ``all`` draws other factors in each epoch.
        seed: Keys the draws together with epoch and index.
        held_out: Pairs of factors, the smaller one first, that are never drawn.
    """

    def __init__(
        self, digits: tuple[int, int], size: int, redraw: Redraw, seed: int, held_out: Collection[tuple[int, int]]
    ) -> None:
        self.digits = digits
        self.size = size
        self.redraw = redraw
        self.seed = seed
        self.held_out = held_out

    @property
    def redraws(self) -> bool:
        """Whether an example differs from epoch to epoch."""
        return self.redraw == "all"

    def __len__(self) -> int:
        return self.size

    def example(self, index: int, epoch: int) -> ReasoningExample:
        """The product that is seen in an epoch.

        Raises:
            UserError: If there is none that is not held out.
        """
        visit = epoch if self.redraws else 0
        rng = keyed_random("factors", *self.digits, self.seed, "train", visit, index)
        for _ in range(_TRIES):
            factors = _draw(self.digits, rng)
            if split_of(*factors) == "train" and _unordered(*factors) not in self.held_out:
                return render(*factors, self.digits, example_id=f"train-{index}")
        raise _too_few("train", self.digits, 0, self.size)


def generate(
    digits: tuple[int, int],
    seed: int,
    split: Split,
    count: int,
    avoid: Collection[tuple[int, int]] = (),
    paired: bool = False,
) -> list[ReasoningExample]:
    """The first ``count`` products of validation or test, none of them twice, not even with its factors exchanged.

    A smaller count gives the beginning of what a larger one gives.

    Args:
        digits: Digits of the two factors; no factor begins with a zero, as in the published files.
        seed: Another seed gives other products.
        split: ``val`` or ``test``.
        count: How many.
        avoid: Pairs of factors, the smaller one first, that are left out.
        paired: Whether each is followed by one with another digit in one place, drawn among those of the split that are
            not there yet; a product without any is left out.

    Returns:
        The products, in the order they were drawn.

    Raises:
        UserError: If factors this short have not as many products.
    """
    rng = keyed_random("factors", *digits, seed, split)
    seen = set(avoid)
    examples: list[ReasoningExample] = []
    found, misses = 0, 0

    def fits(factors: tuple[int, int]) -> bool:
        return _unordered(*factors) not in seen and split_of(*factors) == split

    while found < count:
        asked, name = [_draw(digits, rng)], f"{split}-{found}"
        if paired and fits(asked[0]):
            draw = keyed_random("digit", *digits, seed, split, *asked[0])
            asked += list(islice(filter(fits, changed(asked[0], digits, draw)), 1))
        if fits(asked[0]) and len(asked) == 1 + paired:
            seen.update(_unordered(*factors) for factors in asked)
            made = [render(*factors, digits, example_id=name) for factors in asked]
            examples += (
                [replace(made[0], pair=name), replace(made[1], id=f"{name}-other", pair=name)] if paired else made
            )
            found, misses = found + 1, 0
        elif (misses := misses + 1) == _TRIES:
            raise _too_few(split, digits, found, count)
    return examples


def read_products(path: str | Path) -> Iterator[ReasoningExample]:
    """Read a file with a product on each line: ``5 6 3 * 8 2||0 2 9 2 + 0 0 3 7 0 #### 0 2 2 0 1``.

    Each line must be what :func:`render` writes for its factors, so a wrong digit is found. Factors may have up to
    1,000 digits, leading zeros included.

    Args:
        path: The file.

    Returns:
        The examples in the file's order, with their place from 0 as id.

    Raises:
        DataError: If the file cannot be read, or a line is anything else.
    """
    for index, (number, question, written, answer) in enumerate(read_arithmetic_lines(path)):
        where = f"{Path(path).expanduser()}, line {number}"
        found = _QUESTION.fullmatch(question)
        if found is None:
            raise DataError(
                f"the question {shown(question)} is no product of two numbers",
                where=where,
                fix="write the digits apart, the least significant first, as in '5 6 3 * 8 2' for 365 * 28",
            )
        first, second = (text.replace(" ", "")[::-1] for text in found.groups())
        if max(len(first), len(second)) > MOST_DIGITS:
            raise DataError(
                f"a factor has {max(len(first), len(second)):,} digits",
                where=where,
                fix=f"use factors of {MOST_DIGITS} digits at most",
            )
        example = render(int(first), int(second), (len(first), len(second)), example_id=str(index))
        expected = (" ".join(example.steps), example.answer)
        for part, is_text, must in zip(("chain", "answer"), (written, answer), expected, strict=True):
            if is_text != must:
                raise DataError(
                    f"the {part} is not that of {first} * {second}",
                    where=where,
                    why=f"it is {shown(is_text)}, and must be {shown(must)}",
                    fix="correct or remove the line",
                )
        yield example


class Multiplication(ReasoningDataModule):
    """Products of two numbers with their partial products, from the generator or from files in the published format.

    Question, steps and answer are joined to a line of the published files (see :func:`render`), for 365 × 28:

        5 6 3 * 8 2||0 2 9 2 + 0 0 3 7 0 #### 0 2 2 0 1

    The paper's code feeds an end-of-text token and spaces where the line has ``||``, and another one before ``####``.
    Here the text is the line itself, and one end-of-text token closes the answer. With ``tokenizer: words`` each digit
    is one token, and so is each of ``||``, ``####`` and the marks of the chain, with the space behind it; the space
    before a mark is a token of the step that it ends.

    No pair of factors is in two splits, whatever the seeds and sizes: the pair itself decides where it belongs. The
    order of the factors does not count, because 28 × 365 has the answer of 365 × 28. Pairs of a validation or test
    file are kept out of generated training products, and those of a training file out of generated validation and
    test; what two files share is said, and left as it is.

    Args:
        digits: Digits of the first and second factor of a generated product. The most significant one is never zero.
        train_size: Products of a training epoch.
        val_size: Generated validation products, no pair of factors twice.
        test_size: Generated test products, no pair of factors twice; also those that ``predict`` answers.
        ask: Which products are asked for in generated validation and test data: the ``given`` ones, or ``both`` each of
            them and, behind it, the same with another digit in one place, whose answer is another. Pair accuracy is the
            share of pairs with both right.
        redraw: What changes at each visit to a generated *training* product: ``none``, or ``all``, that is both
            factors. The products of a file never change.
        train_path: A published-format text file to train on instead of generated products.
        val_path: Likewise for validation.
        test_path: Likewise for test and predict.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`. ``text`` is that of the published line if
            not given. Numeric extractors would look at one digit alone, since an answer's digits stand apart.

    Raises:
        UserError: If an option is out of range.
    """

    task: ClassVar[str] = "math"
    default_text: ClassVar[TextFormat] = PUBLISHED_TEXT

    def __init__(
        self,
        digits: tuple[int, int] = (4, 4),
        train_size: int = 20000,
        val_size: int = 500,
        test_size: int = 1000,
        ask: Ask = "given",
        redraw: Redraw = "none",
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if len(digits) != 2 or any(type(count) is not int or not 1 <= count <= MOST_DIGITS for count in digits):
            raise UserError(
                f"digits is {shown(list(digits))}",
                where="data.digits",
                fix=f"give two whole numbers from 1 to {MOST_DIGITS}, one for each factor, such as [4, 4]",
            )
        self.digits = (digits[0], digits[1])
        self.sizes = split_sizes(train_size, val_size, test_size)
        check_choice("redraw", redraw, ["none", "all"])
        check_choice("ask", ask, get_args(Ask))
        self.ask: Ask = ask
        self.redraw: Redraw = redraw
        self.paths = {
            "train": train_path,
            "val": val_path,
            "test": test_path,
            "predict": test_path,
        }

    def make_source(self, split: Split) -> Source:
        """Read the split's file, or generate its products.

        Raises:
            DataError: If a file cannot be used.
            UserError: If there are not enough products.
        """
        path, seed = self.paths[split], self.keyed_by()
        if path is not None and self.ask == "both" and split != "train":
            raise UserError(
                f"ask is 'both', and the {split} products are read from a file",
                where=f"data.ask and {path}",
                why="only of products that are generated it is known that their neighbours are not trained on",
                fix="set data.ask to 'given', or leave the path out",
            )
        if path is not None:
            return ListSource(read_products(path))
        if split == "train":
            apart = self._pairs("val") | self._pairs("test")
            say_repeated(self.sizes["train"], 81 * 10 ** (sum(self.digits) - 2), "products of such factors")
            return DrawnProducts(self.digits, self.sizes["train"], self.redraw, seed, apart)
        part: Split = "test" if split == "predict" else split
        avoid, paired = self._pairs("train"), self.ask == "both"
        return ListSource(generate(self.digits, seed, part, self.sizes[part], avoid, paired))

    def written(self, split: Split) -> Iterable[ReasoningExample] | None:
        """The products of a split's file."""
        path = self.paths[split]
        return read_products(path) if path is not None else None

    def vocabulary(self) -> Iterable[str]:
        """One product with every digit and every mark."""
        return self.text.pieces(render(9876543210, 111, (10, 3), example_id="words"))

    def _pairs(self, split: Split) -> set[tuple[int, int]]:
        """The factors, the smaller one first, of a split's file, if it has one."""
        path = self.paths[split]
        factors = (example.facts["factors"] for example in read_products(path)) if path is not None else ()
        return {_unordered(*pair) for pair in factors if isinstance(pair, list)}


def _spelled(number: int, width: int) -> str:
    """Digits with spaces between them, the least significant first."""
    return " ".join(reversed(f"{number:0{width}d}"))


def _draw(digits: tuple[int, int], rng: Random) -> tuple[int, int]:
    low, high = digits
    return rng.randrange(10 ** (low - 1), 10**low), rng.randrange(10 ** (high - 1), 10**high)


def _unordered(first: int, second: int) -> tuple[int, int]:
    return min(first, second), max(first, second)


def _too_few(split: Split, digits: tuple[int, int], found: int, count: int) -> UserError:
    return UserError(
        f"no further product of the {split} split with digits={list(digits)} in {_TRIES:,} draws",
        where="data.digits",
        why=f"{found} of {count} were found; the splits share no pair of factors, in either order",
        fix="use more digits" + (f", or lower {split}_size to {found}" if found else ""),
    )
