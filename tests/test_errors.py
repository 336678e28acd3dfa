"""What a block repeats of an input: in one line, and not more than anyone reads."""

from __future__ import annotations

import pickle

import pytest

from lcot.errors import DataError, UserError, renamed, shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("short", "'short'"),
        ("a\nb\x1b[2J", r"'a\nb\x1b[2J'"),
        ("x" * 5000, f"'{'x' * 60}'… (5,000 characters)"),
        ([1, "é"], '[1, "é"]'),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1… (4,890 characters)"),
        (None, "null"),
        ({1, 2}, "of type set"),
        (10**5000, "of type int"),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_what_is_shown_of_a_value(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_long_part_of_a_block_is_cut_with_its_length() -> None:
    error = UserError("it is " + "x" * 5000 + " here", where="w" * 2000, why="short")
    assert "xxx … xxx" in error.what and error.what.endswith("x here (5,011 characters)") and len(error.what) < 1000
    assert error.where is not None and error.where.endswith("(2,000 characters)") and error.why == "short"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_block_moves_no_cursor_and_can_be_written() -> None:
    error = DataError("a\x1b[2Jb\x00", where="half \ud800", why="tab\tline\nnext", fix="é 漢 \u2028")
    assert error.what == r"a\x1b[2Jb\x00" and error.where == r"half \ud800"
    assert error.why == "tab\\tline\nnext" and error.fix == "é 漢 \\u2028"
    str(error).encode()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_what_is_refused_meanwhile_speaks_of_other_settings() -> None:
    with pytest.raises(DataError) as caught, renamed({"model.backbone": "model.teacher", "the model": "the teacher"}):
        raise DataError("the model has 8", where="model.backbone.path", fix="set model.backbone otherwise")
    assert caught.value.what == "the teacher has 8" and caught.value.why is None
    assert (caught.value.where, caught.value.fix) == ("model.teacher.path", "set model.teacher otherwise")
    with pytest.raises(ValueError, match="the model"), renamed({"the model": "the teacher"}):
        raise ValueError("the model")  # nobody's block
