"""Activation checkpointing: the training step that keeps everything, and the one that computes again, side by side.

    python -m benchmarks.checkpointing --check
    python -m benchmarks.checkpointing --device cuda --dtype bfloat16 --width 1024

Each run is one forward and one backward pass of one batch, as in :mod:`benchmarks.train_step`, twelve layers deep.

- *kept*: whatever the backward pass reads is kept.
- *recomputed*: ``model.activation_checkpointing``: each layer's inputs, keys and values are kept.

Memory is what a step needs on top of the model, the batch and nothing else; on a CPU, in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.common import (
    Bound,
    describe,
    interleave,
    make_workload,
    median_ratio,
    parser,
    peak_apart,
    peak_bytes,
    report,
)
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.think import supervised_loss, think

WAYS = {"kept": False, "recomputed": True}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = parser("Time and memory of activation checkpointing.", repeats=3)
    options.set_defaults(layers=12, batch=16)
    options.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory")
    options.add_argument("--memory-of", choices=list(WAYS), help=argparse.SUPPRESS)
    args = options.parse_args(argv)
    work = make_workload(args)
    rows = [work.builder.train(row, work.stage(row)) for row in work.rows]
    batch = collate(rows, work.builder.special.pad).to(args.device)
    steps = {name: stepper(work.model, batch, lean) for name, lean in WAYS.items()}
    if args.memory_of is not None:
        print(peak_bytes(steps[args.memory_of], args.device))
        return 0
    bounds = [Bound("largest difference of a gradient, of its norm", apart(work.model, steps), 1e-5, at_most=True)]
    seconds = interleave(steps, args.repeats, args.device)
    memory = {
        name: peak_apart("benchmarks.checkpointing", name, step, args.device, argv)
        for name, step in steps.items()
        if args.memory
    }
    ratio = median_ratio(seconds["recomputed"], seconds["kept"])
    bounds.append(Bound("recomputed / kept, seconds", ratio, 1.45, at_most=True))
    if memory:
        ratio = memory["recomputed"] / memory["kept"]
        bounds.append(Bound("recomputed / kept, peak memory", ratio, 0.5, at_most=True))
    table = [
        (name, f"{statistics.median(times):.3f} s", f"{memory[name] / 2**20:.0f} MiB" if name in memory else "")
        for name, times in seconds.items()
    ]
    return report(describe(args, work, batch.input_ids.shape[1]), table, bounds, args.check)


def stepper(model: PreTrainedModel, batch: ThoughtBatch, lean: bool) -> Callable[[], None]:
    """A step, which leaves its gradients in the model."""

    def step() -> None:
        model.zero_grad()
        loss, tokens = supervised_loss(model, batch, think(model, batch, checkpointing=lean))
        (loss / tokens).backward()  # type: ignore[no-untyped-call]

    return step


def apart(model: PreTrainedModel, steps: dict[str, Callable[[], None]]) -> float:
    """The largest ‖difference‖ / ‖gradient‖ over the parameters."""
    found: list[dict[str, Tensor]] = []
    for step in steps.values():
        step()
        found.append({name: own.grad for name, own in model.named_parameters() if own.grad is not None})
    kept, again = found
    assert kept.keys() == again.keys()
    norms = torch.stack([(again[name] - own).norm() / own.norm() for name, own in kept.items() if own.norm() > 0])
    return float(norms.max())


if __name__ == "__main__":
    raise SystemExit(main())
