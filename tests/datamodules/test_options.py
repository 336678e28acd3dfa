"""Options that several data sets have: each refusal names the setting."""

from __future__ import annotations

import pytest

from lcot.datamodules.options import check_choice, check_one_path, split_sizes
from lcot.errors import UserError


def test_sizes() -> None:
    assert split_sizes(3, 2, 1) == {"train": 3, "val": 2, "test": 1, "predict": 1}
    with pytest.raises(UserError, match="val_size is 0") as caught:
        split_sizes(1, 0, 1)
    assert caught.value.where == "data.val_size"


def test_choices() -> None:
    check_choice("redraw", "all", ["none", "all"])
    with pytest.raises(UserError, match="unknown redraw 'al'") as caught:
        check_choice("redraw", "al", ["none", "all"])
    assert caught.value.where == "data.redraw"


def test_one_path_or_one_for_each_split() -> None:
    check_one_path(None, {"train": "a", "val": None}, "choose")
    check_one_path("a", {"train": None, "val": None}, "choose")
    with pytest.raises(UserError, match="path and val_path are both given") as caught:
        check_one_path("a", {"train": None, "val": "b"}, "choose")
    assert (caught.value.where, caught.value.fix) == ("data.path, data.val_path", "choose")
