"""Seconds of writing answers of mixed lengths: rows that end give up their places, against ``generate`` batch by batch.

    python -m benchmarks.turnover --model FOLDER --dtype bfloat16
    python -m benchmarks.turnover

- *turnover*: :func:`lcot.reasoning.turnover.write` over all batches, at most ``--batch`` rows at once.
- *batch by batch*: :func:`lcot.reasoning.decode.decode` of each batch, whose rows leave when half of them have ended.
- *generate*: ``model.generate`` of transformers, greedy, with the same batches.

All three begin with token ids and end with token ids. Questions are short and of six kinds, whose answers have from a
few words to more than ``--tokens``; with ``--model`` they are asked by the tokenizer's chat template, and texts end as
it says. Without it, the model has random weights, and the end is whichever token makes lengths differ most.

Texts are compared with those of ``generate``. In bfloat16 the same row in another batch may round otherwise, and where
two tokens are about equally likely either text is right: of a text that differs, the two tokens' logits at the first
difference are compared, after the text before it.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from benchmarks.common import Bound, interleave, make_workload, median_ratio, parser, report
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.decode import Draws, Sampling, decode
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.think import Thinking, think
from lcot.reasoning.turnover import Source, write

Texts = list[list[int]]

_PLACES = "France Italy Spain Japan Egypt Peru Kenya Canada Norway Poland Greece Cuba Chile India China Brazil".split()
_THINGS = "rain snow fire bread glass paper music salt honey gold silk clouds tides wind coffee chess".split()
_NAMES = "Anna Ben Carla David Emma Felix Grace Hugo".split()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = parser("Time of answers of mixed lengths.", repeats=3)
    options.add_argument("--model", help="folder of a model with its tokenizer; random weights if not given")
    options.add_argument("--tokens", type=int, default=128, help="new tokens of each question, at most")
    options.add_argument("--batches", type=int, default=4, help="how many batches there are")
    args = options.parse_args(argv)
    model, rows, eos, pad = _setting(args)
    batches = [collate(rows[at : at + args.batch], pad).to(args.device) for at in range(0, len(rows), args.batch)]
    texts: dict[str, Texts] = {}

    def thought(batch: ThoughtBatch) -> Thinking:
        with torch.no_grad():
            return think(model, batch, keep_cache=True)

    def turnover() -> None:
        def sources() -> Iterator[Source]:
            for batch in batches:
                yield Source(thought(batch), [[Draws(0, 0)] * len(batch)])

        found = write(model, sources(), places=args.batch, max_new_tokens=args.tokens, eos=eos, sampling=Sampling())
        texts["turnover"] = [text for one in found for copy in one.texts for text in copy]

    def batch_by_batch() -> None:
        texts["batch by batch"] = [
            text for batch in batches for text in decode(model, thought(batch), max_new_tokens=args.tokens, eos=eos)
        ]

    def generated() -> None:
        texts["generate"] = [
            text
            for at in range(0, len(rows), args.batch)
            for text in generate(model, rows[at : at + args.batch], args.tokens, eos, pad)
        ]

    runs: dict[str, Callable[[], None]] = {
        "generate": generated,
        "batch by batch": batch_by_batch,
        "turnover": turnover,
    }
    seconds = interleave(runs, args.repeats, args.device)
    lengths = [len(text) for text in texts["generate"]]
    table = [(name, f"{statistics.median(times):.2f} s", "") for name, times in seconds.items()]
    table.append(("tokens of a text, mean", f"{statistics.mean(lengths):.1f}", ""))
    table.append(("tokens of a text, least and most", f"{min(lengths)} {max(lengths)}", ""))
    full = sum(max(lengths[at : at + args.batch]) for at in range(0, len(rows), args.batch)) * args.batch
    table.append(("places of generate in use", f"{sum(lengths) / full:.0%}", ""))
    bounds = []
    for name in ("turnover", "batch by batch"):
        pairs = list(zip(rows, texts["generate"], texts[name], strict=True))
        same = sum(one == other for _, one, other in pairs)
        gap = max([0.0, *(gap_of(model, row, one, other) for row, one, other in pairs if one != other)])
        table.append((f"{name}, the same texts", f"{same} of {len(rows)}", ""))
        table.append((f"{name}, largest gap at a difference", f"{gap:.3f}", ""))
        if args.dtype == "float32":
            bounds.append(Bound(f"{name}: largest gap of logits", gap, 1e-3, at_most=True))
    for name, least in (("turnover", 1.5), ("batch by batch", 1.0)):
        ratio = median_ratio(seconds["generate"], seconds[name])
        bounds.append(Bound(f"generate / {name}, seconds", ratio, least, at_most=False))
    setting = (
        f"{args.model or 'random weights'}, {len(rows)} questions in batches of {args.batch}, {args.tokens} new tokens"
        f" at most, {args.dtype}, {torch.get_num_threads()} CPU thread(s), torch {torch.__version__}"
    )
    return report(setting, table, bounds, args.check)


def _setting(args: Any) -> tuple[PreTrainedModel, list[Layout], int, int]:
    """The model, its prompts, the id that ends a text, and that of padding."""
    count = args.batch * args.batches
    if args.model is None:
        work = make_workload(args)
        work.model.train(False)
        rows = [_plain(row.question[: 4 + 3 * (number % 5)]) for number, row in enumerate(work.rows * args.batches)]
        free = [text for row in rows for text in generate(work.model, [row], args.tokens, -1, 0)]
        return work.model, rows, _most_mixed(free), work.builder.special.pad
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    tokenizer: Any = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype)).to(args.device)
    model.train(False)
    chats = [[{"role": "user", "content": question}] for question in questions(count)]
    asked = [tokenizer.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] for chat in chats]
    # As test and predict have them: rows of about one length together.
    return (
        model,
        sorted(map(_plain, asked), key=lambda row: -row.prompt),
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )


def _plain(ids: list[int]) -> Layout:
    """A prompt and nothing else."""
    return Layout(list(ids), [IGNORE] * len(ids), head=len(ids), thoughts=0, prompt=len(ids))


def _most_mixed(free: Texts) -> int:
    """The token that would end most texts at different places."""

    def lengths(eos: int) -> int:
        return len({text.index(eos) if eos in text else -1 for text in free})

    return max({token for text in free for token in text}, key=lengths)


def questions(count: int) -> list[str]:
    """Questions of six kinds, keyed by their number."""
    draw = random.Random(0)
    kinds: list[Callable[[], str]] = [
        lambda: f"What is the capital of {draw.choice(_PLACES)}? Answer in one short sentence.",
        lambda: f"Is {draw.choice(_THINGS)} older than {draw.choice(_THINGS)}? Answer yes or no.",
        lambda: (
            f"{draw.choice(_NAMES)} has {draw.randint(2, 40)} apples and gets {draw.randint(2, 40)} more."
            " How many apples is that?"
        ),
        lambda: f"What is {draw.choice(_THINGS)}? Answer in one sentence.",
        lambda: f"Name three foods of {draw.choice(_PLACES)}.",
        lambda: f"Tell me about {draw.choice(_THINGS)} in {draw.choice(_PLACES)}.",
    ]
    return [kinds[number % len(kinds)]() for number in range(count)]


def generate(model: PreTrainedModel, rows: Sequence[Layout], most: int, eos: int, pad: int) -> Texts:
    """The new tokens of each row by transformers, its end the last."""
    width = max(row.prompt for row in rows)
    ids = torch.tensor([[pad] * (width - row.prompt) + row.ids for row in rows], device=model.device)
    mask = torch.tensor([[0] * (width - row.prompt) + [1] * row.prompt for row in rows], device=model.device)
    with torch.no_grad():
        output = model.generate(  # type: ignore[operator]
            ids, attention_mask=mask, do_sample=False, max_new_tokens=most, eos_token_id=eos, pad_token_id=pad
        )
    found = output[:, width:].tolist()
    return [text[: text.index(eos) + 1] if eos in text else text for text in found]


@torch.no_grad()
def gap_of(model: PreTrainedModel, row: Layout, one: list[int], other: list[int]) -> float:
    """How far the logits of two texts' first different tokens are from one another, in the model's own numbers."""
    place = next(at for at, (mine, theirs) in enumerate(zip(one, other, strict=False)) if mine != theirs)
    ids = torch.tensor([row.ids + one[:place]], device=model.device)
    logits = model(input_ids=ids).logits[0, -1].float()
    return abs(float(logits[one[place]] - logits[other[place]]))


if __name__ == "__main__":
    raise SystemExit(main())
