"""Word problems with other numbers: what is replaced, what stays, and what cannot be resampled."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from lcot.datamodules.word_problems.formulas import Expression
from lcot.datamodules.word_problems.resampling import Resampler
from lcot.reasoning.example import ReasoningExample


def problem(question: str, formula: str, answer: str) -> ReasoningExample:
    return ReasoningExample(question, (), answer, "p", {"formula": formula, "unit": "cats"})


def copies(example: ReasoningExample, count: int = 20, seed: int = 0) -> list[ReasoningExample]:
    return Resampler(example).copies(count, random.Random(seed))


def test_question_formula_and_answer_change_together() -> None:
    example = problem("Seven cats and 1,200 dogs. Then 3 more of 50 come. How many?", "7+1200+3=1210", "1210")
    made = copies(example)
    assert len(made) == 20 and len({copy.question for copy in made}) == 20
    for copy in made:
        word, dogs, more = copy.question.split()[0], copy.question.split()[3], copy.question.split()[6]
        numbers = [copy.steps[0][2:-2].split("=")[0].split("+")[place] for place in range(3)]
        assert dogs.replace(",", "") == numbers[1] and more == numbers[2] and copy.question.count("of 50 come") == 1
        assert ("," in dogs) is (int(numbers[1]) > 999) and word[0].isupper() and not word.isdigit()
        assert int(copy.answer) == sum(map(int, numbers)) and copy.steps[0].endswith(f"={copy.answer}>>")
        assert copy.facts == {"formula": copy.steps[0][2:-2], "unit": "cats"}
        assert all(2 <= int(number) for number in numbers) and numbers[0] != "7"


def test_results_stay_of_their_kind() -> None:
    example = problem("96 cats in 8 houses, 5 of them ill.", "96/8-5=7", "7")
    for copy in copies(example, 40):
        cats, houses, ill = (int(word) for word in copy.question.replace(",", "").split() if word.isdigit())
        assert cats % houses == 0 and cats // houses - ill == int(copy.answer) > 0


def test_decimal_places_stay() -> None:
    example = problem("It costs $1.80 and $85.00 for 4 of them.", "(1.80+85)*4=347.2", "347.2")
    for copy in copies(example):
        first, second = (word[1:] for word in copy.question.split() if word.startswith("$"))
        assert first.endswith("0") and second.endswith(".00")  # $1.80 has one place that counts, $85.00 none
        four = int(copy.question.split()[-3])
        assert Fraction(copy.answer) == (Fraction(first) + Fraction(second)) * four


def test_an_earlier_result_is_carried_on() -> None:
    example = problem("3 cats, then 5 more. Then 2 leave.", "3+5=8; 8-2=6", "6")
    for copy in copies(example):
        first, second = (step[2:-2] for step in copy.steps)
        result = first.split("=")[1]
        assert second.split("-")[0] == result and second.split("=")[1] == copy.answer


def test_words_and_limits() -> None:
    example = problem("Twenty-one cats, of whom 50% are ill: ninety-eight more.", "21*50/100+98=108.5", "108.5")
    for copy in copies(example):
        assert int(copy.question.partition("%")[0].split()[-1]) <= 100
        assert copy.question[0].isupper() and not any(word.isdigit() for word in copy.question.split())


def test_what_a_question_only_means_stays() -> None:
    example = problem("Tom rides 3 hours, twice.", "3*60*2=360", "360")
    with pytest.raises(ValueError, match="where 60 comes from"):  # nothing of minutes
        Resampler(problem("Tom rides 3 days, twice.", "3*60*2=360", "360"))
    for copy in copies(example, 5):
        assert copy.steps[0].endswith(f"*60*2={copy.answer}>>")


def test_fewer_copies_where_there_are_no_more() -> None:
    example = problem("3 cats of 4%", "4-3=1", "1")
    assert 0 < len(copies(example, 1000)) < 1000
    assert copies(example, 3) == copies(example, 3) != copies(example, 3, seed=1)
    assert copies(example, 5)[:3] == copies(example, 3)


@pytest.mark.parametrize(
    ("question", "formula", "answer", "words"),
    [
        ("7 and 2", "", "9", "does not come to the answer"),
        ("7 and 2", "7+2=9", "10", "does not come to the answer"),
        ("7 and 2", "7+2=9", "Tom", "does not come to the answer"),
        ("7 and 2", "7+2=10", "10", "is not equal"),
        ("7 and 0", "7/0=1", "1", "is not equal"),
        ("47 and 6", "47/6=7 r5", "5", "no equation"),
        ("7 and 2", "7+2", "9", "no equation"),
        ("7 and 2", "7+x=9", "9", "no arithmetic"),
        ("7 and 2", "GCD(7,2)=1", "1", "no arithmetic"),
        ("7 and 2", "7**2=49", "49", "no arithmetic"),
        ("7 and 2", "__import__('os')=9", "9", "no arithmetic"),
        ("7 and 2", "+".join(["7"] * 400) + "=2800", "2800", "no arithmetic"),
        ("some cats", "1+1=2", "2", "no number of the formula is in the question"),
        ("7 cats, of 27 that 9 houses give", "27-18=9", "9", "where 18 comes from"),
        ("7 cats and 2, then 9 more", "7+2=9; 9+9=18", "18", "which 9 is meant"),
        ("1/2 of 3rd and 2:30, one hundred, two thirds", "2+3=5", "5", "where 2 comes from"),
    ],
)
def test_what_cannot_be_resampled(question: str, formula: str, answer: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Resampler(problem(question, formula, answer))


def test_an_expression_is_worked_out_exactly() -> None:
    expression = Expression("(0.1+0.2)*3/4-1")
    assert expression.literals() == ["0.1", "0.2", "3", "4", "1"]
    assert expression.values()[-1] == Fraction(-31, 40)
    assert expression.values(["1", "2", "3", "4", "5"])[-1] == Fraction(9, 4) - 5
    assert expression.written(["10", "2", "3", "4", "5"]) == "(10+2)*3/4-5"
    for wrong in ("1e3", "1_000", "0x1", "-5", "1if 1else 2", "[1]", "1;2", "1\n+2", "True", "1j", "'1'", ""):
        with pytest.raises(ValueError, match=r"no arithmetic|no plain number"):
            Expression(wrong)
