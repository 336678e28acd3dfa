"""One line that fits a terminal of 80 columns, and covers the whole training."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import rich

from lcot.callbacks import ReasoningProgressBar
from lcot.callbacks.progress import clock
from tests.training import stages, tiny_data, tiny_module, tiny_trainer


@pytest.fixture(autouse=True)
def console() -> Iterator[None]:
    """Bars reconfigure the console of the process."""
    yield
    rich.reconfigure()


def drawn(bar: ReasoningProgressBar, folder: Path, width: int = 80, command: str = "fit", **changes: Any) -> list[str]:
    """Every line that a terminal was told to show."""
    file = io.StringIO()
    bar._console_kwargs = {"file": file, "width": width, "force_terminal": True, "color_system": None}
    trainer = tiny_trainer(folder, stages(), bar, enable_progress_bar=True, **changes)
    getattr(trainer, command)(tiny_module(), tiny_data())
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip() and not re.match(r"epoch \d: ", line)]


@pytest.mark.parametrize("width", [80, 120])
def test_a_line_covers_all_epochs(width: int, tmp_path: Path) -> None:
    lines = drawn(ReasoningProgressBar(refresh_rate=1000), tmp_path, width)
    assert lines and max(map(len, lines)) <= width
    assert all(re.match(r"(epoch \d/2|validating \d/\d) +[━╸╺ ]+ +\d+ % +[-\d:]+ left", line) for line in lines), lines
    shares = [int(found[1]) for line in lines if (found := re.search(r"(\d+) %", line))]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 100
    assert any(line.startswith("validating 1/2") for line in lines)
    assert re.search(r"0:00 left stage: 2 loss: \d+\.\d{3} acc: +\d+\.\d %$", lines[-1]), lines[-1]
    assert "epoch 2/2" in lines[-1]


def test_where_the_number_of_epochs_is_open_it_covers_one(tmp_path: Path) -> None:
    lines = drawn(ReasoningProgressBar(refresh_rate=1000), tmp_path, max_epochs=-1, max_steps=6)
    for epoch in ("epoch 0", "epoch 1"):
        assert "100" in {line.split(" %")[0].split()[-1] for line in lines if epoch in line}
    assert max(map(len, lines)) <= 80 and not any("epoch 1/" in line for line in lines)


def test_a_line_for_each_epoch_may_be_left(tmp_path: Path) -> None:
    lines = drawn(ReasoningProgressBar(refresh_rate=1000, leave=True), tmp_path)
    assert [
        max(int(line.split(" %")[0].split()[-1]) for line in lines if f"epoch {n}/2" in line) for n in range(3)
    ] == [
        33,
        66,
        100,
    ]


@pytest.mark.parametrize(
    ("command", "word"), [("validate", "Validation"), ("test", "Testing"), ("predict", "Predicting")]
)
def test_other_commands_have_a_line_too(command: str, word: str, tmp_path: Path) -> None:
    lines = drawn(ReasoningProgressBar(refresh_rate=1000), tmp_path, command=command)
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith(word) and "100 %" in line for line in lines)


def test_what_is_left_goes_by_all_that_was_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on at batch 50 of 100, and has done 10 in 20 seconds, has 40 to go."""
    bar: Any = ReasoningProgressBar()
    bar.train_progress_bar_id, bar._began = 7, (1000.0, 50)
    monkeypatch.setattr("lcot.callbacks.progress.time", SimpleNamespace(monotonic=lambda: 1020.0))
    assert bar.left(SimpleNamespace(id=7, total=100, completed=60, time_remaining=1.0)) == 80.0
    assert bar.left(SimpleNamespace(id=7, total=100, completed=50, time_remaining=1.0)) is None
    assert bar.left(SimpleNamespace(id=8, total=100, completed=60, time_remaining=1.0)) == 1.0


def test_times() -> None:
    assert [clock(seconds) for seconds in (0.4, 61, 3599.7, 36000)] == ["0:00", "1:01", "1:00:00", "10:00:00"]
