"""What is put on a shelf is taken as it was, in any order; nothing of it is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lcot.analysis.shelf import Shelf


def test_what_is_put_is_taken(tmp_path: Path) -> None:
    vectors = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    with Shelf(tmp_path / "vectors") as shelf, Shelf(tmp_path / "plain") as plain:
        for number, own in enumerate(vectors):
            shelf.put_vectors(own)
            plain.put_plain([None, "ü\ud800" * number, [number, -1.5]])
        assert len(shelf) == len(plain) == 5
        for number in (4, 0, 2, 2):
            assert torch.equal(shelf.take_vectors(number, 4), vectors[number])
            assert plain.take_plain(number) == [None, "ü\ud800" * number, [number, -1.5]]
    assert list(tmp_path.iterdir()) == []


def test_narrow_types_come_back_without_loss(tmp_path: Path) -> None:
    with Shelf(tmp_path / "vectors") as shelf:
        own = torch.randn(2, 4).bfloat16()
        shelf.put_vectors(own)
        assert torch.equal(shelf.take_vectors(0, 4).bfloat16(), own)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), Shelf(tmp_path / "vectors") as shelf:
        shelf.put(b"some")
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(FileExistsError):
        Shelf(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"
