"""Seconds per question: batched decoding from the cache against the definition, one question at a time.

    python -m benchmarks.decode --check
    python -m benchmarks.decode --data prosqa_valid.json --tokenizer FOLDER_OF_GPT2
    python -m benchmarks.decode --device cuda --dtype bfloat16 --compile

- *batched*: :func:`lcot.reasoning.think.think` and :func:`lcot.reasoning.decode.decode` for a whole batch.
- *compiled*, with ``--compile``: the same with the one-column passes of :mod:`lcot.reasoning.compiled`; on a GPU they
  are CUDA graphs. Its texts must be those of *batched* (in bfloat16, where two tokens may be equally likely, they are
  only counted).
- *definition*: the oracle of the tests, which runs the whole sequence again for every thought and every token, without
  a cache.

Every row writes all its tokens: no eos ends it. Both begin with token ids and end with token ids.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import torch

from benchmarks.common import Bound, clock, describe, interleave, make_workload, median_ratio, parser, report
from lcot.reasoning.batch import collate
from lcot.reasoning.compiled import OneColumn
from lcot.reasoning.decode import decode
from lcot.reasoning.think import think
from tests.oracle import cut, naive_generate

NEVER = -1
"""An eos that no model writes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = parser("Time of decoding, per question.", repeats=5)
    options.add_argument("--tokens", type=int, default=32, help="new tokens of each question")
    options.add_argument("--compile", action="store_true", help="time compiled one-column passes as well")
    args = options.parse_args(argv)
    work = make_workload(args)
    work.model.train(False)
    rows = [work.builder.prompt(row, work.thoughts) for row in work.rows]
    batch = collate(rows, work.builder.special.pad).to(args.device)
    passes = OneColumn(work.model, room=args.tokens) if args.compile else None
    numbers = itertools.cycle(range(len(rows)))
    texts: dict[str, list[list[int]]] = {}
    slow_texts: dict[int, list[int]] = {}

    def batched(name: str, passes: OneColumn | None) -> None:
        with torch.no_grad():
            thinking = think(work.model, batch, keep_cache=True, compiled=passes)
        texts[name] = decode(work.model, thinking, max_new_tokens=args.tokens, eos=NEVER)

    def definition() -> None:
        number = next(numbers)
        slow_texts[number] = naive_generate(work.model, cut(rows[number]), args.tokens, NEVER)

    runs: dict[str, Callable[[], None]] = {"batched": partial(batched, "batched", None)}
    if passes is not None:
        runs["compiled"] = partial(batched, "compiled", passes)
        start = clock(args.device)
        runs["compiled"]()
        first = clock(args.device) - start
    seconds = interleave({**runs, "definition": definition}, args.repeats, args.device)
    for name in runs:
        seconds[name] = [total / len(rows) for total in seconds[name]]
    table = [(f"{name}, a question", f"{statistics.median(times):.4f} s", "") for name, times in seconds.items()]
    same = sum(texts["batched"][number] == text for number, text in slow_texts.items())
    # In bfloat16 two tokens may be equally likely, and then either text is right.
    table.append(("questions with the same text", f"{same} of {len(slow_texts)}", ""))
    ratio = median_ratio(seconds["definition"], seconds["batched"])
    bounds = [Bound("definition / batched, seconds a question", ratio, 25.0, at_most=False)]
    if passes is not None:
        same = sum(one == other for one, other in zip(texts["batched"], texts["compiled"], strict=True))
        ratio = median_ratio(seconds["batched"], seconds["compiled"])
        table += [
            ("batched / compiled", f"{ratio:.2f}", ""),
            ("first compiled batch", f"{first:.1f} s", ""),
            ("texts that compilation left as they were", f"{same} of {len(rows)}", ""),
        ]
        if args.dtype == "float32":
            bounds.append(Bound("texts the same, compiled and not", same / len(rows), 1.0, at_most=False))
    setting = f"{describe(args, work, batch.input_ids.shape[1])}, {args.tokens} new tokens"
    return report(setting, table, bounds, args.check)


if __name__ == "__main__":
    raise SystemExit(main())
