"""What each extractor reads from outputs that are not what a model was taught to write, and which answers are equal."""

from __future__ import annotations

import json
import pickle
import random
import re
from decimal import Decimal

import pytest

from lcot.errors import UserError
from lcot.metrics import EXTRACTORS, accuracy_names, extract_answer, extractor, is_correct, resolved
from tests.places import SHARED

DATA = SHARED
STRING, NUMBER, LAST = (EXTRACTORS[name] for name in ("string", "number", "last_number"))
NO = None

OUTPUTS: list[tuple[str, str | None, str | None, str | None]] = [
    # output, and what string, number and last_number read
    ("### 18", "18", "18", "18"),
    ("<<16-3-4=9>>\n<<9*2=18>>\n### 18", "18", "18", "18"),
    # no marker, or nothing behind it
    ("", NO, NO, NO),
    ("The answer is 18.", NO, NO, "18"),
    ("<<16-3-4=9>>", NO, NO, "9"),
    ("## 18", NO, NO, "18"),
    ("18 ###", NO, NO, "18"),
    ("### \n", NO, NO, NO),
    ("### ,", NO, NO, NO),
    ("### eighteen", "eighteen", NO, NO),
    # more than one marker, and markers within others
    ("### 1 ### 2", "2", "2", "2"),
    ("### 18 ###", NO, NO, "18"),
    ("The ### mark comes before 5.\n### 18", "18", "18", "18"),
    ("#### 18", "18", "18", "18"),
    ("###18", "18", "18", "18"),
    ("###\n18", "18", "18", "18"),
    # words and units
    ("### 18 apples", "18 apples", "18", "18"),
    ("### 18\nThat is 3 for each.", "18\nThat is 3 for each.", "18", "3"),
    ("### The answer is 18.", "The answer is 18.", "18", "18"),
    ("### 18kg", "18kg", "18", "18"),
    ("### x = 18", "x = 18", "18", "18"),
    ("### **18**", "**18**", "18", "18"),
    ("### 5%", "5%", "5", "5"),
    # currencies and commas
    ("### $1,234.50", "$1234.50", "1234.50", "1234.50"),
    ("### 1,234,567", "1234567", "1234567", "1234567"),
    ("### 5, or 6", "5 or 6", "5", "6"),
    ("### 1.234,50", "1.23450", "1.234", "50"),
    ("### € 18", "€ 18", "18", "18"),
    ("### Rs.500", "Rs.500", "500", "500"),
    ("### 50 cents", "50 cents", "50", "50"),
    # negatives, and hyphens that are none
    ("### -5", "-5", "-5", "-5"),
    ("### \u22125", "\u22125", "-5", "-5"),
    ("### -$5", "-$5", "-5", "-5"),
    ("### $-5", "$-5", "-5", "-5"),
    ("### -\u20ac 5", "-\u20ac 5", "-5", "-5"),
    ("### (5)", "(5)", "5", "5"),
    ("### 20-5", "20-5", "20", "5"),
    ("### 20 - 5", "20 - 5", "20", "5"),
    ("### 3\u20135 days", "3\u20135 days", "3", "5"),
    ("### (20)-5=15", "(20)-5=15", "20", "15"),
    ("### +7", "+7", "7", "7"),
    ("### --5", "--5", "5", "5"),
    # decimals, fractions, powers, zeros
    ("### 18.0", "18.0", "18.0", "18.0"),
    ("### 18.", "18.", "18", "18"),
    ("### .5", ".5", ".5", ".5"),
    ("### -.5", "-.5", "-.5", "-.5"),
    ("### 007", "007", "007", "007"),
    ("### 1/2", "1/2", "1/2", "1/2"),
    ("### -3/4 cup", "-3/4 cup", "-3/4", "-3/4"),
    ("### 5/0", "5/0", "5", "0"),
    ("### 3/4/2020", "3/4/2020", "3", "2020"),
    ("### 1e3", "1e3", "1e3", "1e3"),
    ("### 3e", "3e", "3", "3"),
    ("### 1.2.3", "1.2.3", "1.2", "3"),
]


@pytest.mark.parametrize(("output", "string", "number", "last_number"), OUTPUTS)
def test_what_is_read(output: str, string: str | None, number: str | None, last_number: str | None) -> None:
    assert [reader.extract(output, "### ") for reader in (STRING, NUMBER, LAST)] == [string, number, last_number]
    assert extract_answer(output) == string


@pytest.mark.parametrize(
    ("answer", "gold", "as_string", "as_number"),
    [
        ("18", "18", True, True),
        ("18", "81", False, False),
        ("18.0", "18", False, True),
        ("1234", "1,234", True, True),
        ("1234.50", "1,234.5", False, True),
        ("007", "7", False, True),
        ("-5", "5", False, False),
        ("-5", "\u22125", False, True),
        ("-0", "0", False, True),
        ("1/2", "0.5", False, True),
        ("1/3", "0.333333333333333333", False, False),
        ("0.1", "1/10", False, True),
        ("1e3", "1000", False, True),
        ("18", "18 apples", False, True),
        ("5", "5%", False, True),
        ("0.05", "5%", False, False),
        # As floats these would be equal.
        ("9007199254740993", "9007199254740992", False, False),
        ("0.1000000000000000055", "0.1", False, False),
        (None, "18", False, False),
        # A gold answer that is no number is never that number.
        ("18", "eighteen", False, False),
        ("eighteen", "eighteen", True, False),
    ],
)
def test_what_is_equal(answer: str | None, gold: str, as_string: bool, as_number: bool) -> None:
    assert STRING.equal(answer, gold) is is_correct(answer, gold) is as_string
    assert NUMBER.equal(answer, gold) is LAST.equal(answer, gold) is as_number


def test_numbers_of_any_size_cost_nothing() -> None:
    for text in ("9" * 50_000, "1e999999999", "1e-999999999", "1/" + "9" * 20_000, "1," * 20_000):
        read = NUMBER.extract(f"### {text}", "###")
        assert read is not None and not NUMBER.equal(read, "2") and not NUMBER.equal(read, "1/3")
    assert NUMBER.extract("### " + "-$" * 50_000, "###") is None


def test_what_is_right_as_a_string_is_right_as_a_number() -> None:
    draw = random.Random(0)
    right = 0
    for _ in range(20_000):
        output = "### " + "".join(draw.choices("12,.-$ /e", k=draw.randint(1, 4)))
        gold = str(draw.choice([1, 2, 11, 12, -1, "1.2", "1,2", "-.2"]))
        if re.search(r"(?<!\d),|,(?!\d)", output) is None and STRING.equal(STRING.extract(output, "###"), gold):
            right += 1
            assert NUMBER.equal(NUMBER.extract(output, "###"), gold), (output, gold)
    assert right > 100


def test_another_marker() -> None:
    output = "### 1\nThe answer is: $18."
    assert [reader.extract(output, "The answer is: ") for reader in (STRING, NUMBER, LAST)] == ["$18.", "18", "18"]
    assert NUMBER.extract(output, "Answer:") is None


@pytest.mark.parametrize("reader", EXTRACTORS.values(), ids=lambda reader: reader.name)
def test_an_extractor_is_known_by_its_name(reader: object) -> None:
    assert reader in EXTRACTORS.values()
    name = next(name for name, other in EXTRACTORS.items() if other is reader)
    found = extractor(name)
    assert found is reader and found.name == name
    said = found.described("### ")
    assert said.startswith(f"{name}: ") and "{" not in said
    assert pickle.loads(pickle.dumps(found)) == found


def test_the_description_names_the_marker() -> None:
    assert STRING.described("### ") == "string: text after the last ###, commas removed, exact match"
    assert "after the last {x}," in NUMBER.described("{x}")


def test_unknown_names() -> None:
    with pytest.raises(UserError, match="unknown extractor 'numbr'") as caught:
        extractor("numbr")
    assert caught.value.fix == "did you mean 'number'?" and caught.value.where == "data.extractors"


def test_the_first_is_the_accuracy_and_the_others_have_names() -> None:
    assert accuracy_names(["number"]) == {"accuracy": "number"}
    assert list(accuracy_names(["string", "number"]).items()) == [("accuracy", "string"), ("accuracy_number", "number")]
    for wrong, words in (([], "names none"), (["string", "string"], "names one twice"), (["strin"], "unknown")):
        with pytest.raises(UserError, match=words):
            accuracy_names(wrong)


def test_the_protocol_of_softcot_is_that_of_the_data_set() -> None:
    assert resolved(["boxed", "softcot_official"], "softcot_official_number") == ("boxed", "softcot_official_number")
    assert resolved(("string",), None) == ("string",)
    with pytest.raises(UserError, match="'softcot_official' does not say which of three extractors") as caught:
        resolved(["softcot_official"], None)
    assert caught.value.where == "data.extractors" and caught.value.fix is not None
    for kind in ("number", "choice", "yes_no"):
        assert f"softcot_official_{kind}" in caught.value.fix and EXTRACTORS[f"softcot_official_{kind}"].flawed
    assert [name for name, reader in EXTRACTORS.items() if reader.flawed] == [
        "codi_official_number",
        "softcot_official_number",
        "softcot_official_choice",
        "softcot_official_yes_no",
    ]


def test_the_protocol_of_softcot_compares_as_python_does() -> None:
    reader = EXTRACTORS["softcot_official_number"]
    for output, gold, right in (
        ("18.0", "18", True),
        ("18.004", "18", True),
        ("18.006", "18", False),
        ("1,234", "1,234", True),
        ("1.005", "1.0", True),  # a float below it
        ("0.125", "0.12", True),
        ("0.125", "0.125", False),
        ("\u0661\u0668", "18", True),  # digits of another script
        ("9" * 5_000, "9", False),  # more than Python reads
        ("9" * 400 + ".5", "9", False),
        ("5", "5:6", False),
    ):
        assert reader.equal(reader.extract(output, ""), gold) is right, (output, gold)


def golds() -> list[str]:
    """All gold answers of the arithmetic data sets."""
    with (DATA / "gsm8k" / "train.jsonl").open(encoding="utf-8") as file:
        solutions = [json.loads(line)["answer"].rpartition("####")[2].strip() for line in file]
    lines = (DATA / "gsm8k_aug" / "valid.txt").read_text(encoding="utf-8").splitlines()
    return solutions + [line.rpartition("####")[2].strip() for line in lines]


@pytest.mark.skipif(not DATA.is_dir(), reason="needs GSM8K and GSM8k-Aug")
def test_every_gold_answer_is_read_from_its_own_text() -> None:
    answers = golds()
    assert len(answers) == 7473 + 500
    for gold in answers:
        for reader in (STRING, NUMBER, LAST):
            read = reader.extract(f"<<1+1=2>>\n### {gold}", "### ")
            assert read is not None and reader.equal(read, gold), (reader.name, gold)
        boxed, official = (EXTRACTORS[name] for name in ("boxed", "softcot_official_number"))
        written = f"Therefore, the final answer is: $\\boxed{{{gold}}}$."
        assert boxed.equal(boxed.extract(written, "### "), gold)
        assert official.equal(official.extract(written, "### "), gold) is not gold.startswith("-")
        assert NUMBER.meaning(gold) == Decimal(gold.replace(",", ""))
    assert sum("," in gold for gold in answers) == 83 and sum(gold.startswith("-") for gold in answers) == 3


@pytest.mark.parametrize("name", EXTRACTORS)
def test_numbers_of_any_length_are_read_at_once(name: str) -> None:
    # Python reads no whole number of more than 4,300 digits, and reducing such a fraction would take minutes.
    reader, long = EXTRACTORS[name], "9" * 200_000
    for text in (f"### {long}", f"### 1/{long}", f"### {long}/{long}", f"\\boxed{{{long}/{long}}}", f"### {long}.5"):
        read = reader.extract(text, "### ")
        for gold in ("18", "1/2", long[:5000], "1e999999999", "A", "yes"):
            assert not reader.equal(read, gold)
    assert EXTRACTORS["number"].equal(EXTRACTORS["number"].extract(f"### {long[:5000]}", "### "), long[:5000])
