"""Training with the dashboard against training without it.

    python -m benchmarks.dashboard --check
    python -m benchmarks.dashboard --device cuda --width 1024 --layers 16

Each run trains the model of configs/prosqa.yaml on its data, with its batch and one validation an epoch, through two
stages that are shorter than that config's shortest: what the dashboard does once a stage, a search tree above all,
weighs more here. Both runs keep a TensorBoard logger; one of them has the dashboard too, with its default settings.

- *with / without*: the ratio of the two runs, next to one another, after one round that does not count.
- *within the hooks*: the share of the time that the dashboard itself takes, by the clock of its hooks. It is free of
  what makes two runs differ by chance, and does not see the thread that writes files.

On a CPU the clock is that of the process, so that other work on the machine does not count; what is left of it are
memory and caches that are shared.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from benchmarks.common import Bound, clock, median_ratio, report
from lcot.callbacks import CurriculumCallback, Dashboard
from lcot.cli.console import quiet_the_console
from lcot.datamodules import ProsQA
from lcot.modules import Backbone, Coconut
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.text import TextFormat

HOOKS = (
    "setup",
    "on_train_start",
    "on_train_batch_start",
    "on_train_batch_end",
    "on_validation_batch_end",
    "on_validation_end",
    "on_train_epoch_end",
    "on_train_end",
)


class Clocked(Dashboard):
    """A dashboard that knows how long it takes.

    Args:
        seconds: The clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        super().__init__()
        self.seconds = seconds
        self.spent = 0.0
        for hook in HOOKS:
            setattr(self, hook, self._clocked(getattr(self, hook)))
        self._watch.see = self._clocked(self._watch.see)  # type: ignore[method-assign]

    def _clocked(self, inner: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            start = self.seconds()
            try:
                return inner(*args, **options)
            finally:
                self.spent += self.seconds() - start

        return run


def train(args: argparse.Namespace, seconds: Callable[[], float], board: bool) -> tuple[float, float]:
    """Train once.

    Args:
        args: The parsed options.
        seconds: The clock.
        board: Whether there is a dashboard.

    Returns:
        Seconds of training, and those of them that the dashboard took.
    """
    L.seed_everything(0, verbose=False)
    size = {"hidden_size": args.width, "intermediate_size": args.width, "num_hidden_layers": args.layers}
    heads = {"num_attention_heads": args.heads, "num_key_value_heads": args.heads, "head_dim": args.width // args.heads}
    module = Coconut(
        Backbone(config={"model_type": "qwen3", **size, **heads, "max_position_embeddings": 256}),
        optimizer=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
        max_new_tokens=16,
    )
    data = ProsQA(
        nodes=(6, 12),
        hops=(1, 4),
        symbols=16,
        style="compact",
        redraw="all",
        text=TextFormat(after_question="", after_step="", before_answer="### "),
        train_size=args.steps * args.batch,
        val_size=args.validated,
        test_size=1,
        batch_size=args.batch,
        eval_batch_size=250,
        seed=0,
    )
    schedule = Stepwise(epochs_per_stage=[args.epochs, args.epochs], max_stage=1, markers="never")
    own = [Clocked(seconds)] if board else []
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            max_epochs=2 * args.epochs,
            accelerator="gpu" if torch.device(args.device).type == "cuda" else "cpu",
            devices=1,
            callbacks=[CurriculumCallback(schedule), *own],
            logger=TensorBoardLogger(folder, name="", version="", default_hp_metric=False),
            log_every_n_steps=20,
            gradient_clip_val=1.0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        start = seconds()
        trainer.fit(module, datamodule=data)
        spent = seconds() - start
        files = list(Path(folder).glob("events.out.tfevents.*"))
        assert len(files) == 1, "one file of curves"
    return spent, own[0].spent if own else 0.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status."""
    options = argparse.ArgumentParser(
        description="What the dashboard costs.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    options.add_argument("--device", default="cpu", help="cpu or cuda")
    options.add_argument("--layers", type=int, default=2)
    options.add_argument("--width", type=int, default=64)
    options.add_argument("--heads", type=int, default=4)
    options.add_argument("--batch", type=int, default=64, help="rows of a batch")
    options.add_argument("--steps", type=int, default=150, help="steps of an epoch; the config has 200")
    options.add_argument("--epochs", type=int, default=2, help="epochs of a stage; the config has 3 to 18")
    options.add_argument("--validated", type=int, default=500, help="questions that are answered after an epoch")
    options.add_argument("--repeats", type=int, default=3, help="repetitions, of which the median is printed")
    options.add_argument("--threads", type=int, default=1, help="CPU threads")
    options.add_argument("--check", action="store_true", help="exit with 1 if a bound is broken")
    args = options.parse_args(argv)
    torch.set_num_threads(args.threads)
    quiet_the_console()
    for name in ("lcot", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    on_cpu = torch.device(args.device).type == "cpu"
    seconds: Callable[[], float] = time.process_time if on_cpu else lambda: clock(args.device)
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for repetition in range(args.repeats + 1):
        # Each of them is the first of a round as often as the other.
        for board in (False, True) if repetition % 2 else (True, False):
            spent = train(args, seconds, board)
            if repetition:
                found[board].append(spent)
    without, both = ([whole for whole, _ in found[board]] for board in (False, True))
    share = statistics.median(own / (whole - own) for whole, own in found[True])
    steps = 2 * args.epochs * args.steps
    setting = (
        f"{args.layers} layers x {args.width}, batch {args.batch}, {steps} steps in {2 * args.epochs} epochs and 2"
        f" stages, {args.device}, {args.threads} CPU thread(s), torch {torch.__version__}"
    )
    rows = [
        ("without", f"{statistics.median(without):.2f} s", ""),
        ("with", f"{statistics.median(both):.2f} s", ""),
        ("within the hooks", f"{statistics.median(own for _, own in found[True]):.2f} s", ""),
    ]
    bounds = [
        Bound("with / without, seconds", median_ratio(both, without), 1.02, at_most=True),
        Bound("1 + within the hooks / rest, seconds", 1 + share, 1.02, at_most=True),
    ]
    return report(setting, rows, bounds, args.check)


if __name__ == "__main__":
    raise SystemExit(main())
