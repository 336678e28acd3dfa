"""Seconds per question: batched decoding from the cache against the definition, one question at a time.

    python -m benchmarks.decode --check
    python -m benchmarks.decode --data prosqa_valid.json --tokenizer FOLDER_OF_GPT2
    python -m benchmarks.decode --device cuda --dtype bfloat16

- *batched*: :func:`lcot.reasoning.think.think` and :func:`lcot.reasoning.decode.decode` for a whole batch.
- *definition*: the oracle of the tests, which runs the whole sequence again for every thought and every token, without
  a cache.

Every row writes all its tokens: no eos ends it. Both begin with token ids and end with token ids.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

import torch

from benchmarks.common import Bound, describe, interleave, make_workload, median_ratio, parser, report
from lcot.reasoning.batch import collate
from lcot.reasoning.decode import decode
from lcot.reasoning.think import think
from tests.oracle import cut, naive_generate

NEVER = -1
"""An eos that no model writes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = parser("Time of decoding, per question.", repeats=5)
    options.add_argument("--tokens", type=int, default=32, help="new tokens of each question")
    args = options.parse_args(argv)
    work = make_workload(args)
    work.model.train(False)
    rows = [work.builder.prompt(row, work.thoughts) for row in work.rows]
    batch = collate(rows, work.builder.special.pad).to(args.device)
    numbers = itertools.cycle(range(len(rows)))
    texts: list[list[int]] = []
    slow_texts: dict[int, list[int]] = {}

    def batched() -> None:
        with torch.no_grad():
            thinking = think(work.model, batch, keep_cache=True)
        texts[:] = decode(work.model, thinking, max_new_tokens=args.tokens, eos=NEVER)

    def definition() -> None:
        number = next(numbers)
        slow_texts[number] = naive_generate(work.model, cut(rows[number]), args.tokens, NEVER)

    seconds = interleave({"batched": batched, "definition": definition}, args.repeats, args.device)
    seconds["batched"] = [total / len(rows) for total in seconds["batched"]]
    same = sum(texts[number] == text for number, text in slow_texts.items())
    ratio = median_ratio(seconds["definition"], seconds["batched"])
    table = [(f"{name}, a question", f"{statistics.median(times):.4f} s", "") for name, times in seconds.items()]
    setting = f"{describe(args, work, batch.input_ids.shape[1])}, {args.tokens} new tokens"
    # In bfloat16 two tokens may be equally likely, and then either text is right.
    table.append(("questions with the same text", f"{same} of {len(slow_texts)}", ""))
    return report(setting, table, [Bound("definition / batched, seconds a question", ratio, 25.0, False)], args.check)


if __name__ == "__main__":
    raise SystemExit(main())
