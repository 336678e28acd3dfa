"""What the benchmarks share: the model, a batch of published-size ProsQA, interleaved timing, peak memory, a table."""

from __future__ import annotations

import argparse
import gc
import os
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from lcot.datamodules.graphs.generator import CONCEPTS, GraphSpec
from lcot.datamodules.graphs.splits import generate
from lcot.datamodules.graphs.text import draw_names, render
from lcot.datamodules.records import read_examples
from lcot.datamodules.tokenizers import build_word_tokenizer, load_tokenizer
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.layout import EncodedExample, LayoutBuilder
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens

VOCABULARY = 50_261
"""GPT-2's 50,257 tokens and the four thought tokens."""

_PIECES = 3
"""Tokens that GPT-2 spends on a name such as *shumpus*; the word tokenizer's one is repeated so often."""


@dataclass(frozen=True, slots=True)
class Workload:
    """What is run.

    Attributes:
        model: GPT-2's architecture with random weights and no dropout.
        builder: Lays out rows of continuous thoughts.
        rows: As many examples as a batch has rows, of neighbouring lengths around the median.
        thoughts: Number of thoughts, behind which all steps are hidden.
    """

    model: PreTrainedModel
    builder: LayoutBuilder
    rows: list[EncodedExample]
    thoughts: int

    def stage(self, row: EncodedExample) -> Stage:
        """All steps of an example hidden behind the thoughts."""
        return Stage(len(row.steps), self.thoughts)


def parser(description: str, repeats: int) -> argparse.ArgumentParser:
    """The options that all benchmarks have; their defaults are the setting of the published ratios."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    options.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    options.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="type of the weights")
    options.add_argument("--layers", type=int, default=2)
    options.add_argument("--width", type=int, default=256)
    options.add_argument("--heads", type=int, default=8)
    options.add_argument("--thoughts", type=int, default=6)
    options.add_argument("--batch", type=int, default=32, help="rows of a batch")
    options.add_argument("--repeats", type=int, default=repeats, help="repetitions, of which the median is printed")
    options.add_argument("--threads", type=int, help="CPU threads; torch's own choice if not given")
    options.add_argument("--data", type=Path, help="ProsQA records (.json); generated problems if not given")
    options.add_argument("--tokenizer", help="folder or name; needed with --data")
    options.add_argument("--nodes", type=int, default=28, help="nodes drawn for a generated graph")
    options.add_argument("--check", action="store_true", help="exit with 1 if a bound is broken")
    return options


def make_workload(args: argparse.Namespace) -> Workload:
    """Model and rows for parsed options."""
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    if args.data is not None:
        tokenizer = load_tokenizer(args.tokenizer if args.tokenizer is not None else "openai-community/gpt2")
        examples = list(read_examples(args.data))
    else:
        examples = generated_examples(args.nodes, count=4 * args.batch)
        texts = [text for example in examples for text in (example.question, *example.steps, example.answer)]
        tokenizer = load_tokenizer(args.tokenizer) if args.tokenizer is not None else build_word_tokenizer(texts)
    special = add_thought_tokens(tokenizer)
    builder = LayoutBuilder(tokenizer, special, "continuous")
    rows = builder.encode(examples)
    if args.tokenizer is None and args.data is None:
        rows = lengthened(rows, tokenizer)
    rows.sort(key=lambda row: len(row.question))
    middle = max(0, len(rows) // 2 - args.batch // 2)
    model = make_model(args, special)
    return Workload(model, builder, rows[middle : middle + args.batch], args.thoughts)


def make_model(args: argparse.Namespace, special: SpecialTokens) -> PreTrainedModel:
    """GPT-2's architecture with random weights, in training mode; without dropout, which would hide differences."""
    config = AutoConfig.for_model(
        "gpt2",
        vocab_size=VOCABULARY,
        n_layer=args.layers,
        n_embd=args.width,
        n_head=args.heads,
        n_positions=1024,
        bos_token_id=special.eos,
        eos_token_id=special.eos,
        pad_token_id=special.pad,
        **dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.0),
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, args.dtype))  # type: ignore[no-untyped-call]
    assert isinstance(model, PreTrainedModel)
    model.to(args.device)
    model.train()
    return model


def generated_examples(nodes: int, count: int) -> list[ReasoningExample]:
    """Problems of published ProsQA's size, in its words."""
    published = GraphSpec.published()
    spec = published if nodes == published.nodes[0] else GraphSpec(nodes=(nodes, nodes), hops=(1, 6))
    names = random.Random(0)
    return [
        render(problem, draw_names(spec, problem, names), names, "prose", example_id=str(number))
        for number, problem in enumerate(generate(spec, 0, "train", count))
    ]


def lengthened(rows: Sequence[EncodedExample], tokenizer: PreTrainedTokenizerBase) -> list[EncodedExample]:
    """Rows about as long as GPT-2's tokenizer makes them, with ids from all over its vocabulary.

    GPT-2 cuts *shumpus* into three tokens where the word tokenizer has one, so each such name becomes three ids.
    """
    names = {tokenizer.convert_tokens_to_ids(f"\u2581{name}") for name in CONCEPTS}

    def spread(ids: list[int]) -> list[int]:
        return [
            piece
            for token in ids
            for piece in ([token + 20_000 * part for part in range(_PIECES)] if token in names else [token])
        ]

    return [
        EncodedExample(spread(row.question), [spread(step) for step in row.steps], spread(row.answer)) for row in rows
    ]


def interleave(runs: Mapping[str, Callable[[], object]], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of each repetition of each run; a, b, c, a, b, c, …, after one round that does not count.

    Other work on the machine so meets all runs alike, and ratios within one call mean something.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for repetition in range(repeats + 1):
        for name, run in runs.items():
            start = clock(device)
            run()
            if repetition:
                seconds[name].append(clock(device) - start)
    return seconds


def clock(device: str) -> float:
    """Seconds on a steady clock, after the device has finished what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def peak_bytes(run: Callable[[], object], device: str) -> int:
    """The most memory that a run needs beyond what was in use before it.

    On a GPU, tensors alone are counted. On a CPU it is the growth of the process's largest resident size, which only
    means something in a process that has done nothing else.
    """
    gc.collect()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    before = _resident_peak()
    run()
    return _resident_peak() - before


def peak_apart(module: str, name: str, step: Callable[[], None], device: str, argv: Sequence[str] | None) -> int:
    """:func:`peak_bytes` of one of a benchmark's runs; on a CPU, of a process of its own.

    Args:
        module: The benchmark, which prints it when it is given ``--memory-of=NAME``.
        name: Which run.
        step: The run itself.
        device: Where it runs.
        argv: The benchmark's options; the process's own if not given.
    """
    if torch.device(device).type == "cuda":
        return peak_bytes(step, device)
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = [sys.executable, "-m", module, *arguments, f"--memory-of={name}"]
    # Every tensor above 64 kB is mapped by itself, so that freed memory does not linger.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**16)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return int(done.stdout.split()[-1])


def _resident_peak() -> int:
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux hands ru_maxrss down to child processes, so a small child of a large process would show no growth.
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def describe(args: argparse.Namespace, work: Workload, columns: int) -> str:
    """One line with the setting."""
    where = torch.cuda.get_device_name(args.device) if torch.device(args.device).type == "cuda" else ""
    where = where or f"{torch.get_num_threads()} CPU thread(s)"
    data = args.data.name if args.data is not None else f"generated, {args.nodes} nodes"
    return (
        f"{args.layers} layers x {args.width}, {VOCABULARY:,} tokens, {work.thoughts} thoughts, "
        f"batch {len(work.rows)} x {columns} columns, {args.dtype}, {where}, torch {torch.__version__}, {data}"
    )


def median_ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """The median of the ratios of repetitions that ran next to one another."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


@dataclass(frozen=True, slots=True)
class Bound:
    """A ratio with its limit.

    Attributes:
        name: What is compared.
        ratio: What was measured.
        limit: What is allowed.
        at_most: Whether the limit is the largest allowed ratio, not the smallest.
    """

    name: str
    ratio: float
    limit: float
    at_most: bool

    @property
    def holds(self) -> bool:
        """Whether the ratio is within the limit."""
        return self.ratio <= self.limit if self.at_most else self.ratio >= self.limit

    def __str__(self) -> str:
        sign = "≤" if self.at_most else "≥"
        return f"{self.name:<44} {self.ratio:>7.2f}   {sign} {self.limit:<5} {'' if self.holds else 'BROKEN'}".rstrip()


def report(setting: str, rows: Sequence[tuple[str, str, str]], bounds: Sequence[Bound], check: bool) -> int:
    """Print what was measured, and say whether the bounds hold.

    Args:
        setting: The first line.
        rows: (what, seconds, memory) of each run.
        bounds: The ratios.
        check: Whether a broken bound is a failure.

    Returns:
        The exit status.
    """
    print(setting)
    for name, seconds, memory in rows:
        print(f"  {name:<42} {seconds:>12} {memory:>12}".rstrip())
    for bound in bounds:
        print(f"  {bound}")
    return int(check and not all(bound.holds for bound in bounds))
