"""SoftCoT's training step, and what each of its savings saves.

    python -m benchmarks.softcot_step --check
    python -m benchmarks.softcot_step --device cuda --dtype bfloat16 --layers 16 --width 2048 --heads 16

Each run is one forward and one backward pass of one batch into the projection, through the frozen language model.

- *step*: the assistant's states are read from the store, as in every epoch; the prompt before the thoughts is read
  without a graph; logits at supervised positions only.
- *first sight*: the same, and the assistant reads the questions, as an epoch would do in each of its steps that keeps
  no states.
- *graph*: the same as *step* with a graph through the whole prompt.
- *published*: as the published code computes: the assistant in each step, a graph through the whole row, logits at all
  positions. (It also takes its batches row by row in generation, which is not measured here.)
- *checkpointing*: *step* with activation checkpointing.

Memory is what a run needs on top of models and batch; see :mod:`benchmarks.train_step`.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from benchmarks.common import Bound, interleave, median_ratio, peak_apart, peak_bytes, report
from lcot.modules.assistant import Assistant
from lcot.modules.projection import Projection
from lcot.modules.states import StateStore
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.soft import think_given
from lcot.reasoning.think import Passes, output_head, supervised_loss

VOCABULARY = 32_000
PAD, PLACEHOLDER, FIRST_WORD = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Work:
    """What is run: two frozen models, the projection between them, and a batch for both."""

    llm: PreTrainedModel
    assistant: Assistant
    projection: Projection
    batch: ThoughtBatch
    asked: ThoughtBatch

    def states(self, known: bool) -> Tensor:
        """The assistant's states, from the store or read anew."""
        return self.assistant.states(self.asked) if known else self.assistant.read(self.asked)

    def loss(self, *, known: bool = True, graph: bool = False, checkpointing: bool = False) -> Tensor:
        """The mean loss, as training computes it or with less care."""
        thoughts = self.projection(self.states(known))
        # Told that the language model is trained, the passes keep a graph through the prompt.
        thinking = think_given(self.llm, self.batch, thoughts, frozen=not graph, checkpointing=checkpointing)
        summed, tokens = supervised_loss(self.llm, self.batch, thinking)
        return summed / tokens

    def published_loss(self) -> Tensor:
        """The mean loss as the published code computes it."""
        thoughts = self.projection(self.states(known=False))
        embeddings = self.llm.get_input_embeddings()(self.batch.input_ids)
        first, last = self.batch.first, self.batch.first + self.batch.max_thoughts
        # Its embedding layer hands out a tensor that has a graph from the first column on.
        inputs = torch.cat(
            [embeddings[:, :first].requires_grad_(), thoughts.to(embeddings.dtype), embeddings[:, last:]], 1
        )
        length = inputs.shape[1]
        states = Passes(self.llm, self.batch.attention_mask, self.batch.position_ids, None)(inputs, 0, length)
        logits = output_head(self.llm)(states)[:, :-1].float()
        return F.cross_entropy(logits.flatten(0, 1), self.batch.labels[:, 1:].flatten(), ignore_index=IGNORE)


LOSSES: dict[str, Callable[[Work], Tensor]] = {
    "step": lambda work: work.loss(),
    "first sight": lambda work: work.loss(known=False),
    "graph": lambda work: work.loss(graph=True),
    "published": lambda work: work.published_loss(),
    "checkpointing": lambda work: work.loss(checkpointing=True),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    args = options().parse_args(argv)
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    work = make_work(args)
    steps = {name: _stepper(work, loss) for name, loss in LOSSES.items()}
    if args.memory_of is not None:
        print(peak_bytes(steps[args.memory_of], args.device))
        return 0
    times = interleave(steps, args.repeats, args.device)
    memory = {
        name: peak_apart("benchmarks.softcot_step", name, steps[name], args.device, argv)
        for name in LOSSES
        if args.memory
    }
    bounds = [
        Bound("step / first sight, seconds", median_ratio(times["step"], times["first sight"]), 1.05, at_most=True),
        Bound("step / graph, seconds", median_ratio(times["step"], times["graph"]), 1.0, at_most=True),
        Bound("step / published, seconds", median_ratio(times["step"], times["published"]), 0.8, at_most=True),
    ]
    if memory:
        of = {name: memory[name] / memory["step"] for name in LOSSES}
        bounds += [
            Bound("step / graph, peak memory", 1 / of["graph"], 1.0, at_most=True),
            Bound("step / published, peak memory", 1 / of["published"], 0.8, at_most=True),
            Bound("checkpointing / step, peak memory", of["checkpointing"], 1.0, at_most=True),
        ]
    table = [
        (name, f"{statistics.median(seconds):.3f} s", f"{memory[name] / 2**20:.0f} MiB" if name in memory else "")
        for name, seconds in times.items()
    ]
    setting = (
        f"LLM {args.layers} layers x {args.width}, assistant {args.layers // 2} x {args.width // 2}, {args.thoughts} "
        f"thoughts, batch {args.batch} x {args.prompt} + {args.thoughts} + {args.text} columns, {args.dtype}, "
        f"{args.device}"
    )
    return report(setting, table, bounds, args.check)


def make_work(args: argparse.Namespace) -> Work:
    """Random models and rows for parsed options."""
    draw = random.Random(0)

    def words(most: int) -> list[int]:
        return [draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(draw.randint(most - most // 8, most))]

    rows, asking = [], []
    for _ in range(args.batch):
        before, target, prompt = words(args.prompt), words(args.text), words(args.prompt)
        ids = [*before, *[PLACEHOLDER] * args.thoughts]
        labels = [IGNORE] * len(ids) + target
        rows.append(Layout([*ids, *target], labels, head=len(before), thoughts=args.thoughts, prompt=len(ids)))
        ids = [*prompt, *[PLACEHOLDER] * args.thoughts]
        asking.append(Layout(ids, [IGNORE] * len(ids), head=len(prompt), thoughts=args.thoughts, prompt=len(ids)))
    llm = _frozen(args, args.layers, args.width)
    assistant = Assistant(_frozen(args, args.layers // 2, args.width // 2), StateStore(None, {}), PAD)
    assistant.prepare(asking, args.batch, torch.device(args.device))
    projection = Projection(args.width // 2, args.width).to(args.device)
    batches = (collate(each, PAD).to(args.device) for each in (rows, asking))
    return Work(llm, assistant, projection, *batches)


def options() -> argparse.ArgumentParser:
    """The options of this benchmark; their defaults are the setting of the published ratios."""
    made = argparse.ArgumentParser(
        description="SoftCoT's step.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    made.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="type of both models")
    made.add_argument("--layers", type=int, default=8)
    made.add_argument("--width", type=int, default=256)
    made.add_argument("--heads", type=int, default=8)
    made.add_argument("--thoughts", type=int, default=32)
    made.add_argument("--batch", type=int, default=8, help="rows of a batch")
    made.add_argument("--prompt", type=int, default=320, help="longest prompt before the thoughts, in tokens")
    made.add_argument("--text", type=int, default=160, help="longest target, in tokens")
    made.add_argument("--repeats", type=int, default=5, help="repetitions, of which the median is printed")
    made.add_argument("--threads", type=int, help="CPU threads; torch's own choice if not given")
    made.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory")
    made.add_argument("--check", action="store_true", help="exit with 1 if a bound is broken")
    made.add_argument("--memory-of", choices=list(LOSSES), help=argparse.SUPPRESS)
    return made


def _frozen(args: argparse.Namespace, layers: int, width: int) -> PreTrainedModel:
    config = AutoConfig.for_model(
        "llama",
        vocab_size=VOCABULARY,
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=3 * width,
        num_attention_heads=args.heads,
        num_key_value_heads=max(1, args.heads // 4),
        max_position_embeddings=4096,
        pad_token_id=PAD,
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, args.dtype))  # type: ignore[no-untyped-call]
    assert isinstance(model, PreTrainedModel)
    model.to(args.device)
    model.train(False).requires_grad_(False)
    return model


def _stepper(work: Work, loss: Callable[[Work], Tensor]) -> Callable[[], None]:
    def step() -> None:
        work.projection.zero_grad()
        loss(work).backward()  # type: ignore[no-untyped-call]

    return step


if __name__ == "__main__":
    sys.exit(main())
