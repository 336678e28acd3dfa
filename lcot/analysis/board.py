"""A probe as a page of TensorBoard: what was found in words, all interventions, the figures, and curves by thought."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FILE = "events.out.tfevents.probe"
"""Its file; the folder that holds it is a run of its own to TensorBoard, below the run that was probed."""

_SCOPES = {("one", "direct"): "one alone", ("from", "direct"): "one and all behind", ("one", "total"): "one, total"}


def write_board(
    folder: Path, found: Sequence[str], summary: Sequence[Mapping[str, Any]], pictures: Sequence[str]
) -> None:
    """Write the file.

    Args:
        folder: Holds the figures, and is where it goes.
        found: What was found, a line each.
        summary: Rows of :class:`~lcot.analysis.effects.EffectRow`.
        pictures: Names of the figures.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    # Written here and now: SummaryWriter has a thread do it, which keeps a full disk to itself.
    now = time.time()
    with (folder / FILE).open("wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=now, file_version="brain.Event:2").SerializeToString())
        for step, one in _summaries(folder, found, summary, pictures):
            writer.write(Event(wall_time=now, step=step, summary=one).SerializeToString())
        writer.flush()


def _summaries(
    folder: Path, found: Sequence[str], summary: Sequence[Mapping[str, Any]], pictures: Sequence[str]
) -> Iterator[tuple[int, Any]]:
    """Each with its step: the number of the thought, or 0."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from torch.utils.tensorboard import summary as untyped

    kinds: Any = untyped
    yield 0, kinds.text("probe/found", "\n".join(f"- {line}" for line in found))
    yield 0, kinds.text("probe/interventions", _table(summary))
    for name in pictures:
        png = (folder / f"{name}.png").read_bytes()
        width, height = struct.unpack(">II", png[16:24])  # of the header, which comes first
        picture = Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=4)
        yield 0, Summary(value=[Summary.Value(tag=f"probe/{name}", image=picture)])
    for row in summary:
        scope = _SCOPES.get((row["scope"], row["effect"]))
        if scope is not None and row["steps"] is None:
            for measure in ("accuracy", "changed", "to_donor"):
                if row[measure] is not None:
                    yield row["thought"], kinds.scalar(f"{measure}, {scope}/{row['intervention']}", row[measure])


def _table(summary: Sequence[Mapping[str, Any]]) -> str:
    """What changing all thoughts does, as Markdown."""
    lines = [
        "| all thoughts | right | changed | to the donor's | both of a pair right | p |",
        "|---|---|---|---|---|---|",
    ]
    for row in summary:
        if row["scope"] == "all" and row["steps"] is None:
            shares = (row[name] for name in ("accuracy", "changed", "to_donor", "pair_accuracy"))
            cells = ["-" if share is None else f"{100 * share:.1f} %" for share in shares]
            lines.append(f"| {row['intervention']} | {' | '.join(cells)} | {row['p']:.2g} |")
    return "\n".join(lines)
