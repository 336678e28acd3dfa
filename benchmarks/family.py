"""What the field's ways to think cost: a training step and an answer of each, side by side.

    python -m benchmarks.family --check
    python -m benchmarks.family --batch 8 --no-memory
    python -m benchmarks.family --device cuda --dtype bfloat16 --width 1024

Each run is one forward and one backward pass of one batch: questions of 360 tokens, chains of six steps of ten tokens,
all of them hidden behind the thoughts. The thinkers are measured with the text's loss alone:

- *plain*: no thoughts; one pass over question and answer.
- *sequential*: Coconut's 24 thoughts, each in a pass of its own.
- *jacobi*, *looped*: 24 thoughts in three rounds over all of them at once (PCCoT, LOTUS).

The methods with all that they learn: *pccot*, *kava*, *lotus*; *codi* beside its *student* and its *teacher*, each in
the passes that it cannot do without; *simcot* beside *sequential thoughts* of its own number and its *decoder* alone.
The answers are those of the same thinkers, up to the first token that is written.

Memory is what a run needs on top of the model and the batch; on a CPU, in a process of its own.
"""

from __future__ import annotations

import argparse
import random
import statistics
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.common import Bound, interleave, make_model, median_ratio, parser, peak_apart, peak_bytes, report
from lcot.datamodules.tokenizers import build_word_tokenizer
from lcot.modules.backbone import Backbone
from lcot.modules.coconut import Coconut
from lcot.modules.objectives.base import Objective, TeacherText
from lcot.modules.objectives.distillation import Distillation
from lcot.modules.objectives.keys_values import KeyValueDistillation
from lcot.modules.objectives.steps import PlaceText, StepDecoder
from lcot.modules.terms import divided
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Stage
from lcot.reasoning.feeds import Add, Feed, Projection
from lcot.reasoning.layout import EncodedExample, LayoutBuilder
from lcot.reasoning.parallel import Jacobi, Looped
from lcot.reasoning.text import TextFormat
from lcot.reasoning.think import supervised_loss, think
from lcot.reasoning.thinker import Thinker
from lcot.reasoning.tokens import SpecialTokens, add_thought_tokens

QUESTION, STEPS, STEP, ANSWER = 360, 6, 10, 8
MANY, FEW = 24, 6
"""Thoughts of PCCoT and LOTUS, and of CODI and SIM-CoT."""


class Bench:
    """Modules over one language model, and the batches that they are trained on.

    Args:
        args: Parsed options.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        if args.threads is not None:
            torch.set_num_threads(args.threads)
        self.args = args
        self.tokenizer = build_word_tokenizer(["a"])
        self.special: SpecialTokens = add_thought_tokens(self.tokenizer)
        self.model = make_model(args, self.special)
        draw = random.Random(0)

        def ids(count: int) -> list[int]:
            return [draw.randrange(1000, 50_000) for _ in range(count)]

        self.rows = [
            EncodedExample(ids(QUESTION), [ids(STEP) for _ in range(STEPS)], [*ids(ANSWER), self.special.eos], mark=2)
            for _ in range(args.batch)
        ]

    def batch(self, thoughts: int, views: Sequence[str] = (), prompts: bool = False) -> ThoughtBatch:
        """All rows, with so many thoughts for all of their steps."""
        builder = LayoutBuilder(self.tokenizer, self.special, "continuous")
        stage = Stage(STEPS, thoughts)
        made = [
            builder.prompt(row, thoughts)
            if prompts
            else builder.train(row, stage).with_views(builder.views(row, stage, views))
            for row in self.rows
        ]
        return collate(made, self.special.pad).to(self.args.device)

    def module(self, thinker: Thinker | None = None, feed: Feed | None = None, **objectives: Objective) -> Coconut:
        """A method."""
        made = Coconut(Backbone(config={"model_type": "gpt2"}), thinker=thinker, feed=feed, objectives=objectives)
        made.attach(self.tokenizer, self.special, TextFormat())
        made.model = self.model
        made.configure_model()
        return made.to(self.args.device)

    def step(self, module: Coconut, thoughts: int) -> Callable[[], None]:
        """Forward and backward of a method's whole loss."""
        batch = self.batch(thoughts, module.views)

        def step() -> None:
            module.zero_grad()
            terms, _ = module.terms(batch)
            divided(terms, {name: term.counts for name, term in terms.items()}, 1.0).backward()  # type: ignore[no-untyped-call]

        return step

    def teacher(self) -> Callable[[], None]:
        """The teacher's pass over its rows, and its text's loss."""
        view = self.batch(FEW, ("teacher",)).views["teacher"]

        def step() -> None:
            self.model.zero_grad()
            loss, tokens = supervised_loss(self.model, view, think(self.model, view))
            (loss / tokens).backward()  # type: ignore[no-untyped-call]

        return step

    def decoder(self, objective: StepDecoder) -> Callable[[], None]:
        """What the step decoder does with thoughts that are there already."""
        module = self.module(steps=objective)
        batch = self.batch(FEW, module.views)
        with torch.no_grad():
            scene = module.objectives.look(self.model, batch, module.think, False)
        assert scene.thinking.fed is not None
        scene.thinking.fed.requires_grad_()

        def step() -> None:
            module.zero_grad()
            loss: Tensor = objective(scene).sum()
            loss.backward()  # type: ignore[no-untyped-call]

        return step

    def answer(self, module: Coconut, thoughts: int) -> Callable[[], None]:
        """Question and thoughts, with a cache to write from."""
        batch = self.batch(thoughts, prompts=True)

        def step() -> None:
            with torch.no_grad():
                module.think(batch, keep_cache=True)

        return step

    def runs(self) -> dict[str, Callable[[], None]]:
        """All that is measured."""
        distilled = partial(Distillation, embeddings=False)
        steps = StepDecoder()
        return {
            "plain": self.step(self.module(), 0),
            "sequential": self.step(self.module(), MANY),
            "jacobi": self.step(self.module(Jacobi(3)), MANY),
            "looped": self.step(self.module(Looped(3), Add()), MANY),
            "pccot": self.step(self.module(Jacobi(3), teacher=TeacherText(), distillation=distilled()), MANY),
            "kava": self.step(
                self.module(Jacobi(3), teacher=TeacherText(), distillation=distilled(), cache=KeyValueDistillation()),
                MANY,
            ),
            "lotus": self.step(self.module(Looped(3), Add(), places=PlaceText(per_step=MANY // STEPS)), MANY),
            "student": self.step(self.module(None, Projection()), FEW),
            "teacher": self.teacher(),
            "codi": self.step(self.module(None, Projection(), teacher=TeacherText(), distillation=Distillation()), FEW),
            "thoughts": self.step(self.module(), FEW),
            "decoder": self.decoder(StepDecoder()),
            "simcot": self.step(self.module(steps=steps), FEW),
            "answer plain": self.answer(self.module(), 0),
            "answer sequential": self.answer(self.module(), MANY),
            "answer jacobi": self.answer(self.module(Jacobi(3)), MANY),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = parser("Time and memory of the field's ways to think.", repeats=5)
    options.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True, help="measure peak memory")
    options.add_argument("--memory-of", help=argparse.SUPPRESS)
    args = options.parse_args(argv)
    bench = Bench(args)
    runs = bench.runs()
    if args.memory_of is not None:
        print(peak_bytes(runs[args.memory_of], args.device))
        return 0
    seconds = interleave(runs, args.repeats, args.device)
    memory = {
        name: peak_apart("benchmarks.family", name, step, args.device, argv)
        for name, step in runs.items()
        if args.memory
    }

    def ratio(above: str, below: str, without: str | None = None, plus: str | None = None) -> float:
        """Of the same repetition; ``without`` is taken off both, ``plus`` is added below."""
        nothing = [0.0] * args.repeats
        less, more = seconds.get(without or "", nothing), seconds.get(plus or "", nothing)
        return median_ratio(
            [one - off for one, off in zip(seconds[above], less, strict=True)],
            [one - off + on for one, off, on in zip(seconds[below], less, more, strict=True)],
        )

    extra = [a - b for a, b in zip(seconds["simcot"], seconds["thoughts"], strict=True)]
    bounds = [
        Bound("jacobi / sequential, beyond plain", ratio("jacobi", "sequential", "plain"), 0.5, at_most=True),
        Bound("looped / sequential, beyond plain", ratio("looped", "sequential", "plain"), 0.65, at_most=True),
        Bound("codi / (student + teacher)", ratio("codi", "student", plus="teacher"), 1.15, at_most=True),
        Bound("simcot beyond thoughts / decoder", median_ratio(extra, seconds["decoder"]), 1.1, at_most=True),
        Bound("kava / pccot", ratio("kava", "pccot"), 1.25, at_most=True),
    ]
    if args.batch == 32:
        name = "answer: jacobi / sequential, beyond plain"
        bounds.append(Bound(name, ratio("answer jacobi", "answer sequential", "answer plain"), 0.35, at_most=True))
    table = [
        (name, f"{statistics.median(times):.3f} s", f"{memory[name] / 2**20:.0f} MiB" if name in memory else "")
        for name, times in seconds.items()
    ]
    where = torch.cuda.get_device_name(args.device) if "cuda" in args.device else f"{torch.get_num_threads()} thread(s)"
    setting = (
        f"{args.layers} layers x {args.width}, batch {args.batch}, questions of {QUESTION} tokens, {MANY} thoughts"
        f" (codi and simcot {FEW}), {args.dtype}, {where}, torch {torch.__version__}"
    )
    return report(setting, table, bounds, args.check)


if __name__ == "__main__":
    raise SystemExit(main())
