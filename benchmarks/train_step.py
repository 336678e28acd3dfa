"""The training step against one plain pass over the same padded tokens, and against the definition.

    python -m benchmarks.train_step --check
    python -m benchmarks.train_step --data prosqa_valid.json --tokenizer FOLDER_OF_GPT2
    python -m benchmarks.train_step --device cuda --dtype bfloat16

Each run is one forward and one backward pass of one batch with the same loss: cross-entropy at the supervised
positions, with the output head at those positions only.

- *step*: :func:`lcot.reasoning.think.think`, all passes over one cache.
- *plain*: one pass over all columns, with ordinary tokens in the slots of the thoughts.
- *definition*: the oracle of the tests, row by row: for every thought and once more for the text, the whole model runs
  again over the whole row. A few rows are timed and scaled to the batch, since no row knows of another.
- *recomputed*: the same passes from the start, but for the whole batch at once and without the output head where no
  label looks. It has no bound: N + 1 plain passes are all that it does.

Memory is what a run needs on top of the model and the batch. On a CPU it is the growth of the largest resident size of
a process of its own, which maps every tensor above 64 kB by itself so that freed memory does not linger.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
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
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.think import supervised_loss, think
from tests.oracle import cut, naive_row_loss


def step_loss(model: PreTrainedModel, batch: ThoughtBatch) -> Tensor:
    """Mean loss of the multi-pass forward."""
    loss, tokens = supervised_loss(model, batch, think(model, batch))
    return loss / tokens


def plain_loss(model: PreTrainedModel, batch: ThoughtBatch) -> Tensor:
    """Mean loss of a single pass over the token embeddings."""
    states = _run(model, model.get_input_embeddings()(batch.input_ids), batch)
    return _text_loss(model, states, batch)


def recomputed_loss(model: PreTrainedModel, batch: ThoughtBatch) -> Tensor:
    """Mean loss of N + 1 passes that each begin at the first column."""
    embedded = model.get_input_embeddings()(batch.input_ids)
    head, end = batch.first, batch.first + batch.max_thoughts
    inputs = embedded[:, :head]
    for column in range(head, end):
        state = _run(model, inputs, batch)[:, -1:]
        is_thought = (column - head < batch.thoughts)[:, None, None]
        inputs = torch.cat([inputs, torch.where(is_thought, state, embedded[:, column : column + 1])], dim=1)
    states = _run(model, torch.cat([inputs, embedded[:, end:]], dim=1), batch)
    return _text_loss(model, states, batch)


LOSSES: dict[str, Callable[[PreTrainedModel, ThoughtBatch], Tensor]] = {
    "step": step_loss,
    "plain": plain_loss,
    "recomputed": recomputed_loss,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = parser("Time and memory of the training step.", repeats=5)
    options.add_argument("--definition-repeats", type=int, default=2, help="repetitions of what runs passes again")
    options.add_argument("--definition-rows", type=int, default=4, help="rows on which the definition is timed")
    options.add_argument(
        "--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory as well"
    )
    options.add_argument("--memory-of", choices=list(LOSSES), help=argparse.SUPPRESS)
    args = options.parse_args(argv)
    work = make_workload(args)
    rows = [work.builder.train(row, work.stage(row)) for row in work.rows]
    batch = collate(rows, work.builder.special.pad).to(args.device)
    steps = {name: _stepper(work.model, batch, loss) for name, loss in LOSSES.items()}
    if args.memory_of is not None:
        print(peak_bytes(steps[args.memory_of], args.device))
        return 0
    fast = interleave({name: steps[name] for name in ("step", "plain")}, args.repeats, args.device)
    again = {"step": steps["step"], "recomputed": steps["recomputed"]}
    timed = rows[:: max(1, len(rows) // args.definition_rows)]
    slow = interleave({**again, "definition": _oracle(work.model, timed)}, args.definition_repeats, args.device)
    slow["definition"] = [total * len(rows) / len(timed) for total in slow["definition"]]
    memory = {
        name: peak_apart("benchmarks.train_step", name, steps[name], args.device, argv)
        for name in ("step", "plain")
        if args.memory
    }
    seconds = {**fast, "recomputed": slow["recomputed"], "definition": slow["definition"]}
    bounds = [
        Bound("step / plain, seconds", median_ratio(fast["step"], fast["plain"]), 1.10, at_most=True),
        Bound("definition / step, seconds", median_ratio(slow["definition"], slow["step"]), 7.0, at_most=False),
    ]
    if memory:
        bounds.append(Bound("step / plain, peak memory", memory["step"] / memory["plain"], 1.20, at_most=True))
    table = [
        (name, f"{statistics.median(times):.3f} s", f"{memory[name] / 2**20:.0f} MiB" if name in memory else "")
        for name, times in seconds.items()
    ]
    table.append(("recomputed / step", f"{median_ratio(slow['recomputed'], slow['step']):.2f}", ""))
    return report(describe(args, work, batch.input_ids.shape[1]), table, bounds, args.check)


def _stepper(
    model: PreTrainedModel, batch: ThoughtBatch, loss: Callable[[PreTrainedModel, ThoughtBatch], Tensor]
) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad()
        loss(model, batch).backward()  # type: ignore[no-untyped-call]

    return step


def _oracle(model: PreTrainedModel, rows: Sequence[Layout]) -> Callable[[], None]:
    def step() -> None:
        model.zero_grad()
        for row in rows:
            naive_row_loss(model, cut(row)).backward()  # type: ignore[no-untyped-call]

    return step


def _run(model: PreTrainedModel, inputs: Tensor, batch: ThoughtBatch) -> Tensor:
    """Last hidden states ``(B, K, D)`` of the first K columns, from their embeddings."""
    columns = inputs.shape[1]
    output = model.base_model(
        inputs_embeds=inputs,
        attention_mask=batch.attention_mask[:, :columns].long(),
        position_ids=batch.position_ids[:, :columns],
        use_cache=False,
    )
    states: Tensor = output.last_hidden_state
    return states


def _text_loss(model: PreTrainedModel, states: Tensor, batch: ThoughtBatch) -> Tensor:
    targets = batch.labels[:, 1:]
    chosen = targets != IGNORE
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return F.cross_entropy(head(states[:, :-1][chosen]).float(), targets[chosen])


if __name__ == "__main__":
    raise SystemExit(main())
