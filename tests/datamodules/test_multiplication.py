r"""The multiplication data module, and a product worked out on paper: 25 * 134, least significant digits first.

    25 *   4 =   100   →   0 0 1
    25 *  30 =   750   →   0 5 7 0       so far   850   →   0 5 8 0
    25 * 100 =  2500   →   0 0 5 2 0     together 3350  →   0 5 3 3 0

With the word tokenizer digit d has the id 271 + d, and the marks are

    <eos> 0   " " 259   "#### " 261   "( " 262   ") " 263   "* " 264   "+ " 265   "||" 268
    bot 281   eot 282   thought 283
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules import Multiplication, Source
from lcot.datamodules.multiplication import PUBLISHED_TEXT, generate, read_products, render, split_of
from lcot.errors import DataError, UserError
from lcot.metrics import EXTRACTORS
from lcot.reasoning.curriculum import Stage, ThoughtKind
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import IGNORE, EncodedExample, LayoutBuilder
from tests.places import SHARED

PUBLISHED = SHARED / "multiplication" / "4_by_4_valid.txt"
needs_published = pytest.mark.skipif(not PUBLISHED.is_file(), reason="needs 4_by_4_valid.txt of published iCoT")
SMALL: dict[str, Any] = {"digits": (2, 2), "train_size": 200, "val_size": 30, "test_size": 40, "seed": 1}
LINE = "5 2 * 4 3 1||0 0 1 + 0 5 7 0 ( 0 5 8 0 ) + 0 0 5 2 0 #### 0 5 3 3 0"

QUESTION = [276, 273, 259, 264, 275, 274, 272, 268]
STEPS = [
    [271, 271, 272, 259],
    [265, 271, 276, 278, 271, 259, 262, 271, 276, 279, 271, 259, 263],
    [265, 271, 271, 276, 273, 271, 259],
]
ANSWER = [261, 271, 276, 274, 274, 271, 0]
_ = IGNORE


def paper() -> ReasoningExample:
    return render(25, 134, (2, 3), example_id="paper")


def line(example: ReasoningExample) -> str:
    """An example as a line of a file."""
    chain = "".join(step + PUBLISHED_TEXT.after_step for step in example.steps)
    return f"{example.question}{PUBLISHED_TEXT.after_question}{chain}{PUBLISHED_TEXT.before_answer}{example.answer}"


def pairs(source: Source, *epochs: int) -> Iterator[tuple[int, int]]:
    """The factors of all examples, the smaller one first."""
    for epoch in epochs or (0,):
        for index in range(len(source)):
            factors = source.example(index, epoch).facts["factors"]
            assert isinstance(factors, list)
            yield min(factors), max(factors)


def builder(kind: ThoughtKind) -> LayoutBuilder:
    data = Multiplication()
    tokenizer = data.set_up_tokenizer()
    assert data.special is not None
    return LayoutBuilder(tokenizer, data.special, kind, data.text)


def test_the_product_on_paper() -> None:
    example = paper()
    assert example.question == "5 2 * 4 3 1" and example.answer == "0 5 3 3 0"
    assert example.steps == ("0 0 1", "+ 0 5 7 0 ( 0 5 8 0 )", "+ 0 0 5 2 0")
    assert line(example) == LINE
    assert example.facts == {
        "factors": [25, 134],
        "product": 3350,
        "partial_products": [100, 750, 2500],
        "running_sums": [100, 850, 3350],
    }


@pytest.mark.parametrize(
    ("first", "second", "digits", "written"),
    [
        (7, 8, (1, 1), "7 * 8||6 5 #### 6 5"),
        (365, 28, (3, 2), "5 6 3 * 8 2||0 2 9 2 + 0 0 3 7 0 #### 0 2 2 0 1"),
        (10, 100, (2, 3), "0 1 * 0 0 1||0 0 0 + 0 0 0 0 ( 0 0 0 0 ) + 0 0 0 1 0 #### 0 0 0 1 0"),
        (99, 99, (2, 2), "9 9 * 9 9||1 9 8 + 0 1 9 8 #### 1 0 8 9"),
        (5, 0, (2, 2), "5 0 * 0 0||0 0 0 + 0 0 0 0 #### 0 0 0 0"),
    ],
)
def test_lengths_depend_on_the_digits_alone(first: int, second: int, digits: tuple[int, int], written: str) -> None:
    assert line(render(first, second, digits, example_id="1")) == written


@pytest.mark.parametrize(("first", "second"), [(100, 3), (3, 100), (-1, 3)])
def test_a_factor_with_too_many_digits(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="at most 2 digits"):
        render(first, second, (2, 2), example_id="1")


def test_the_pieces_on_paper() -> None:
    assert builder("continuous").encode([paper()]) == [EncodedExample(QUESTION, STEPS, ANSWER, mark=1)]


@pytest.mark.parametrize(
    ("kind", "stage", "ids", "unlabelled", "head"),
    [
        pytest.param("none", Stage(0, 0), [*QUESTION, *STEPS[0], *STEPS[1], *STEPS[2], *ANSWER], 8, 8, id="CoT"),
        pytest.param("none", Stage(2, 0), [*QUESTION, *STEPS[2], *ANSWER], 8, 8, id="without thought"),
        pytest.param("none", Stage(0, 0, tokens=6), [*QUESTION, *STEPS[1][2:], *STEPS[2], *ANSWER], 8, 8, id="iCoT"),
        pytest.param("none", Stage(3, 0), [*QUESTION, *ANSWER], 8, 8, id="No-CoT"),
        pytest.param(
            "continuous",
            Stage(0, 0),
            [*QUESTION, 281, 282, *STEPS[0], *STEPS[1], *STEPS[2], *ANSWER],
            10,
            9,
            id="stage 0",
        ),
        pytest.param(
            "continuous",
            Stage(1, 2),
            [*QUESTION, 281, 283, 283, 282, *STEPS[1], *STEPS[2], *ANSWER],
            12,
            9,
            id="stage 1, two thoughts a step",
        ),
        pytest.param(
            "continuous", Stage(2, 2), [*QUESTION, 281, 283, 283, 282, *STEPS[2], *ANSWER], 12, 9, id="stage 2"
        ),
        pytest.param("continuous", Stage(3, 3), [*QUESTION, 281, 283, 283, 283, 282, *ANSWER], 13, 9, id="last stage"),
    ],
)
def test_the_rows_on_paper(kind: ThoughtKind, stage: Stage, ids: list[int], unlabelled: int, head: int) -> None:
    laid = builder(kind)
    (encoded,) = laid.encode([paper()])
    row = laid.train(encoded, stage)
    assert (row.ids, row.labels, row.head) == (ids, [_] * unlabelled + ids[unlabelled:], head)
    assert row.thoughts == (stage.thoughts if kind == "continuous" else 0)


def test_every_digit_and_every_mark_is_one_token() -> None:
    tokenizer = Multiplication().set_up_tokenizer()
    ids = tokenizer.encode(LINE)
    assert ids == [*QUESTION, *(token for step in STEPS for token in step), *ANSWER[:-1]]
    assert tokenizer.decode(ids) == LINE
    digits = [tokenizer.encode(digit) for digit in "0123456789"]
    assert digits == [[271 + digit] for digit in range(10)]


@needs_published
def test_the_published_lines_are_what_the_generator_writes() -> None:
    lines = PUBLISHED.read_text().splitlines()
    data = Multiplication(val_path=str(PUBLISHED), seed=1)
    source, tokenizer = data.make_source("val"), data.set_up_tokenizer()
    assert len(source) == len(lines) == 200
    for index, published in enumerate(lines):
        example = source.example(index, 0)
        first, second = published.split("||")[0].replace(" ", "").split("*")
        again = render(int(first[::-1]), int(second[::-1]), (4, 4), example_id=str(index))
        assert again == example and line(again) == published
        ids = tokenizer.encode(published)
        assert tokenizer.decode(ids) == published
        assert len(ids) == len(published.split()) + 9  # "4||5" is three tokens, and each space before a mark is one
        assert EXTRACTORS["string"].extract(published, data.text.before_answer) == example.answer


@needs_published
def test_generated_lines_have_the_published_form() -> None:
    published = PUBLISHED.read_text().splitlines()
    marks = {"".join("d" if sign.isdigit() else sign for sign in text) for text in published}
    made = [line(example) for example in generate((4, 4), 1, "test", 50)]
    assert {"".join("d" if sign.isdigit() else sign for sign in text) for text in made} == marks and len(marks) == 1
    for lines in (published, made):  # no factor begins with a zero, that is, its text does not end with one
        assert not any(factor.endswith("0") for text in lines for factor in text.split("||")[0].split(" * "))


def test_no_pair_of_factors_is_in_two_splits() -> None:
    data = [Multiplication(**{**SMALL, "seed": seed, "redraw": "all"}) for seed in (1, 2)]
    train, val, test = (
        {pair for one in data for pair in pairs(one.make_source(split), 0, 1, 2, 3)}
        for split in ("train", "val", "test")
    )
    assert len(train) > 1000 and len(val) > 30 and len(test) > 40
    assert not (train & val or train & test or val & test)
    assert all(split_of(*pair) == split_of(*pair[::-1]) == "val" for pair in val)


def test_evaluation_has_no_product_twice_and_never_changes() -> None:
    data = Multiplication(**SMALL, redraw="all")
    for split in ("val", "test"):
        source = data.make_source(split)
        found = list(pairs(source))
        assert len(found) == len(set(found)) == len(source)
        assert list(pairs(source, 5)) == found == list(pairs(data.make_source(split)))
        assert not source.redraws
    assert list(pairs(data.make_source("predict"))) == list(pairs(data.make_source("test")))


def test_a_smaller_count_is_the_beginning_of_a_larger_one() -> None:
    assert generate((3, 2), 1, "val", 20)[:7] == generate((3, 2), 1, "val", 7)
    assert generate((3, 2), 2, "val", 7) != generate((3, 2), 1, "val", 7)


@pytest.mark.parametrize("redraw", ["none", "all"])
def test_what_a_second_visit_changes(redraw: Any) -> None:
    source = Multiplication(**SMALL, redraw=redraw).make_source("train")
    assert source.example(3, 1) == source.example(3, 1) and source.redraws is (redraw == "all")
    assert (list(pairs(source, 0)) == list(pairs(source, 1))) is (redraw == "none")
    assert len({source.example(index, 0).id for index in range(len(source))}) == len(source) == 200


@pytest.mark.parametrize("split", ["val", "test"])
def test_factors_of_an_evaluation_file_are_never_trained_on(tmp_path: Path, split: Any) -> None:
    data: dict[str, Any] = {"digits": (1, 1), "train_size": 500, "redraw": "all", "seed": 1}
    seen = set(pairs(Multiplication(**data).make_source("train"), 0, 1))  # all that there are
    held_out = sorted(seen)[::3]
    file = tmp_path / "held_out.txt"
    file.write_text("\n".join(line(render(b, a, (1, 1), example_id="")) for a, b in held_out))
    apart = Multiplication(**{**data, f"{split}_path": str(file)})
    assert set(pairs(apart.make_source("train"), 0, 1)) == seen - set(held_out)
    assert sorted(pairs(apart.make_source(split))) == held_out


def test_factors_of_a_training_file_are_not_evaluated(tmp_path: Path) -> None:
    val = generate((2, 2), 1, "val", 30)
    file = tmp_path / "train.txt"
    file.write_text("".join(line(example) + "\n" for example in val[::2]))
    data = Multiplication(**{**SMALL, "val_size": 15}, train_path=str(file))
    assert len(data.make_source("train")) == 15
    assert [example.facts for example in val[1::2]] == [data.make_source("val").example(i, 0).facts for i in range(15)]


def test_files_may_have_factors_of_any_length(tmp_path: Path) -> None:
    file = tmp_path / "mixed.txt"
    texts = [LINE, "", "7 * 8||6 5 #### 6 5", "5 0 * 0 0||0 0 0 + 0 0 0 0 #### 0 0 0 0"]
    file.write_text("\n".join(texts))
    found = list(read_products(file))
    assert [line(example) for example in found] == [text for text in texts if text]
    assert [example.id for example in found] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("5 2 + 4 3 1||0 0 1 #### 1", "the question '5 2 \\+ 4 3 1' is no product of two numbers"),
        ("52 * 4 3 1||0 0 1 #### 1", "the question '52 \\* 4 3 1' is no product"),
        ("5 2 * -4 3 1||0 0 1 #### 1", "is no product"),
        ("5 2 * ||0 0 1 #### 1", "is no product"),
        ("5 2 * 4 3 1 * 1||0 0 1 #### 1", "is no product"),
        ("\u0665 * 2||0 1 #### 0 1", "is no product"),  # another script's five
        (LINE.replace("5 7", "5 8"), r"the chain is not that of 25 \* 134"),
        (LINE.replace("( 0 5 8 0 )", ""), r"the chain is not that of 25 \* 134"),
        (LINE.replace(" + 0 0 5 2 0", ""), r"the chain is not that of 25 \* 134"),
        (LINE.replace("5 3 3", "5 3 4"), r"the answer is not that of 25 \* 134"),
        (LINE.replace("0 5 3 3 0", "3350"), r"the answer is not that of 25 \* 134"),
        (LINE.replace("||", " "), r"there is no \|\|"),
        (LINE.replace("####", "###"), "there is no ####"),
    ],
)
def test_a_line_that_is_no_product_is_named(tmp_path: Path, wrong: str, words: str) -> None:
    file = tmp_path / "products.txt"
    file.write_text(f"{LINE}\n\n{wrong}\n{LINE}\n", encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        Multiplication(**SMALL, val_path=str(file)).make_source("val")
    assert caught.value.where is not None and caught.value.where.startswith(f"{file}, line 3")


def test_a_missing_file_is_found_out_before_training(tmp_path: Path) -> None:
    data = Multiplication(**SMALL, test_path=str(tmp_path / "absent.txt"))
    with pytest.raises(DataError, match="no such file"):
        data.make_source("train")


@pytest.mark.parametrize(
    ("change", "words", "where"),
    [
        ({"digits": (0, 2)}, r"digits is \[0, 2\]", "data.digits"),
        ({"digits": (2, 2, 2)}, r"digits is \[2, 2, 2\]", "data.digits"),
        ({"digits": (2, 2.5)}, r"digits is \[2, 2.5\]", "data.digits"),
        ({"train_size": 0}, "train_size is 0", "data.train_size"),
        ({"test_size": -1}, "test_size is -1", "data.test_size"),
        ({"redraw": "order"}, "unknown redraw 'order'", "data.redraw"),
        ({"batch_size": 0}, "batch_size is 0", "data.batch_size"),
        ({"extractors": ["strings"]}, "unknown extractor 'strings'", "data.extractors"),
    ],
)
def test_options_out_of_range(change: dict[str, Any], words: str, where: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        Multiplication(**{**SMALL, **change})
    assert caught.value.where == where


def test_more_products_than_there_are() -> None:
    with pytest.raises(UserError, match="no further product of the val split") as caught:
        Multiplication(**{**SMALL, "digits": (1, 1), "val_size": 45}).make_source("val")
    found = sum(split_of(a, b) == "val" for a in range(1, 10) for b in range(a, 10))
    assert caught.value.fix == f"use more digits, or lower val_size to {found}"


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    file = tmp_path / "all.txt"
    everything = [render(a, b, (1, 1), example_id="") for a in range(1, 10) for b in range(a, 10)]
    file.write_text("\n".join(map(line, everything)))
    source = Multiplication(**{**SMALL, "digits": (1, 1)}, val_path=str(file)).make_source("train")
    with pytest.raises(UserError, match="no further product of the train split"):
        source.example(0, 0)


GOLD = "0 5 3 3 0"


@pytest.mark.parametrize(
    ("written", "answer"),
    [
        (f"#### {GOLD}", GOLD),
        (f"####{GOLD}", GOLD),
        (f"####\n{GOLD}\n", GOLD),
        (f"#### {GOLD}\t ", GOLD),
        (LINE, GOLD),
        (LINE.partition("||")[2], GOLD),
        (f"##### {GOLD}", GOLD),
        (f"#### 1 1 1 1 1 #### {GOLD}", GOLD),
        ("#### 0, 5, 3, 3, 0", GOLD),
        (f"#### {GOLD},", GOLD),
        ("", None),
        (" \n", None),
        ("####", None),
        ("#### \n", None),
        ("#### ,", None),
        (GOLD, None),
        (f"### {GOLD}", None),
        (f"# # # # {GOLD}", None),
        (f"\uff03\uff03\uff03\uff03 {GOLD}", None),
        (f"#### {GOLD} ####", None),
        (LINE.partition("####")[0], None),
        (f"#### {GOLD} #### 1", "1"),
        ("#### 0 5 3 3", "0 5 3 3"),
        ("#### 0 5 3 3 0 0", "0 5 3 3 0 0"),
        ("#### 0 3 3 5 0", "0 3 3 5 0"),
        ("#### 05330", "05330"),
        ("#### 3,350", "3350"),
        ("#### 3350.0", "3350.0"),
        ("#### 18.0", "18.0"),
        ("#### $1,234.50", "$1234.50"),
        (f"#### {GOLD}.", f"{GOLD}."),
        (f"#### {GOLD} is the product", f"{GOLD} is the product"),
        (f"#### the product is {GOLD}", f"the product is {GOLD}"),
        (f"#### -{GOLD}", f"-{GOLD}"),
        (f"#### \u2212 {GOLD}", f"\u2212 {GOLD}"),
        (f"#### + {GOLD}", f"+ {GOLD}"),
        (f"#### ( {GOLD} )", f"( {GOLD} )"),
        ("#### 0  5 3 3 0", "0  5 3 3 0"),
        ("#### 0\n5\n3\n3\n0", "0\n5\n3\n3\n0"),
        ("#### 0 5 3 3 O", "0 5 3 3 O"),
        ("#### \uff10 \uff15 \uff13 \uff13 \uff10", "\uff10 \uff15 \uff13 \uff13 \uff10"),
        (f"#### {GOLD}||", f"{GOLD}||"),
    ],
)
def test_answers_are_read_exactly(written: str, answer: str | None) -> None:
    data = Multiplication()
    (reader,) = (EXTRACTORS[name] for name in data.extractors)
    assert reader.extract(written, data.text.before_answer) == answer
    assert reader.equal(answer, paper().answer) is (answer == GOLD)


def test_numbers_that_python_would_not_write_are_one_block(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text(f"{'1 ' * 4999}1 * 2||{'2 ' * 5001}0 #### {'2 ' * 5000}0\n")
    with pytest.raises(DataError, match="a factor has 5,000 digits") as caught:
        list(read_products(path))
    assert caught.value.where == f"{path}, line 1"
    with pytest.raises(UserError, match="digits is") as refused:
        Multiplication(digits=(5000, 10**20))
    assert "from 1 to 1000" in str(refused.value.fix)
