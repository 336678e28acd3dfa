"""Every part that Lightning and torch offer: it trains the tiny model, or ends in one block before data are made."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from lightning.pytorch import callbacks, loggers, profilers
from torch.optim import lr_scheduler

from lcot.cli.explain import _below
from lcot.cli.parts import CANNOT, check_whole, try_optimizer
from lcot.errors import UserError
from lcot.modules import Backbone, Coconut
from tests.tiny import lcot, write_config


def names(base: type, package: str) -> list[str]:
    """What a package offers of a kind."""
    return sorted({made.__name__ for made in _below(base) if made.__module__.startswith(package)})


# What a class has no default for, or what a quiet test wants.
NEEDED = {
    "EarlyStopping": ("trainer.callbacks.monitor=val/loss",),
    "GradientAccumulationScheduler": ("trainer.callbacks.scheduling={0: 2}",),
    "ModelPruning": ("trainer.callbacks.pruning_fn=l1_unstructured", "trainer.callbacks.amount=0.5"),
    "OnExceptionCheckpoint": ("trainer.callbacks.dirpath=x",),
    "ProgressBar": ("trainer.enable_progress_bar=true",),
    "RichProgressBar": ("trainer.enable_progress_bar=true",),
    "TQDMProgressBar": ("trainer.enable_progress_bar=true",),
    "StochasticWeightAveraging": ("trainer.callbacks.swa_lrs=0.1",),
    "AdvancedProfiler": ("trainer.profiler.dirpath=.", "trainer.profiler.filename=times"),
    "PyTorchProfiler": ("trainer.profiler.dirpath=.", "trainer.profiler.filename=times"),
    "CosineAnnealingLR": ("model.lr_scheduler.T_max=4",),
    "CosineAnnealingWarmRestarts": ("model.lr_scheduler.T_0=2",),
    "CyclicLR": ("model.lr_scheduler.base_lr=0.1", "model.lr_scheduler.max_lr=0.2",
                 "model.lr_scheduler.cycle_momentum=false"),
    "ExponentialLR": ("model.lr_scheduler.gamma=0.9",),
    "MultiStepLR": ("model.lr_scheduler.milestones=[1]",),
    "OneCycleLR": ("model.lr_scheduler.max_lr=0.1", "model.lr_scheduler.total_steps=9"),
    "StepLR": ("model.lr_scheduler.step_size=1",),
    "SWALR": ("model.lr_scheduler.swa_lr=0.1",),
    "LambdaLR": ("model.lr_scheduler.lr_lambda=math.sqrt",),
    "MultiplicativeLR": ("model.lr_scheduler.lr_lambda=math.sqrt",),
}  # fmt: skip

# The reasons of those that end in a block: what no machine can do, what is not installed, and what cannot work.
REFUSED = {
    **{name: "cannot be used here" for name in CANNOT},
    "SaveConfigCallback": "SaveConfigCallback",
    "ThroughputMonitor": "",
    "LambdaCallback": "cannot be used here",
    "CometLogger": "comet",
    "MLFlowLogger": "mlflow",
    "WandbLogger": "wandb",
    "XLAProfiler": "torch_xla",
    "Muon": "only supports 2D parameters",
    "SparseAdam": "does not support dense gradients",
    "ChainedScheduler": "cannot be used here",
    "SequentialLR": "cannot be used here",
    "ReduceLROnPlateau": "cannot be used here",
    "LambdaLR": "the schedule cannot be used",  # a built-in function has no state to save
    "MultiplicativeLR": "the schedule cannot be used",
}
WHOLE = {"Adafactor": "torch.optim.Adafactor"}
"""Names that transformers has as well, once something has imported them."""

PARTS = [
    *(("trainer.callbacks+", name) for name in names(callbacks.Callback, "lightning.pytorch")),
    *(("trainer.logger", name) for name in names(loggers.Logger, "lightning.pytorch")),
    *(("trainer.profiler", name) for name in names(profilers.Profiler, "lightning.pytorch")),
    *(("model.optimizer", name) for name in names(torch.optim.Optimizer, "torch.optim")),
    *(("model.lr_scheduler", name) for name in names(lr_scheduler.LRScheduler, "torch.optim")),
    *(("trainer.callbacks+", name) for name in CANNOT),
]


@pytest.mark.parametrize(("option", "name"), sorted(set(PARTS)))
@pytest.mark.filterwarnings("ignore")
def test_a_part_works_or_ends_in_a_block(
    option: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    words = [f"--{option}={WHOLE.get(name, name)}", *(f"--{setting}" for setting in NEEDED.get(name, ()))]
    outcome = lcot("fit", "-c", "tiny.yaml", *words)
    if outcome.code == 0:
        assert name not in REFUSED, "it works after all"
        assert (tmp_path / "runs" / "tiny" / "checkpoints" / "last.ckpt").is_file()
        return
    assert outcome.code == 2 and "Traceback" not in outcome.err
    assert name in REFUSED and REFUSED[name] in outcome.block, outcome.block
    assert len(outcome.block.splitlines()) <= 4
    assert not (tmp_path / "runs").exists()


def test_nothing_is_listed_that_is_not_there() -> None:
    offered = {name for _, name in PARTS}
    assert set(NEEDED) | set(REFUSED) <= offered | {"ReduceLROnPlateau"}
    assert all(inspect.isclass(getattr(callbacks, name, None)) or name == "SaveConfigCallback" for name in CANNOT)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--model.optimizer.lr=-1", ("the optimizer cannot be made", "Invalid learning rate: -1.0")),
        ("--model.optimizer=SparseAdam", ("the optimizer cannot be used", "--model.optimizer=SparseAdam", "AdamW")),
        ("--model.lr_scheduler={class_path: StepLR, init_args: {step_size: 0}}", ("the schedule cannot be used",)),
        ("--model.backbone.config.num_attention_heads=3", ("no llama model can be made",)),
        ("--model.backbone.config.hidden_act=swosh", ("unknown activation 'swosh'", "'swish'")),
        ("--model.backbone.config.hidden_size=-16", ("no llama model can be made",)),
        ("--model.backbone.config.num_hidden_layers=0", ("the model has 0 layers", "1 or more")),
        ("--model.backbone.config.hidden_sizes=8", ("unknown field of a llama model",)),
        ("--trainer.max_epochs=1", ("stage 1 would start at epoch 1",)),
        ("--trainer.reload_dataloaders_every_n_epochs=1", ("reload_dataloaders_every_n_epochs is 1", "leave it out")),
        ("--trainer.min_epochs=9", ("min_epochs is 9, and max_epochs 2",)),
        ("--trainer.callbacks+=BatchSizeFinder", ("BatchSizeFinder cannot be used here", "set data.batch_size")),
    ],
)
def test_what_needs_no_data_is_told_before_they_are_drawn(
    option: str, says: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lcot.datamodules.base.ReasoningDataModule.setup", lambda *_: pytest.fail("data were drawn"))
    config = write_config(tmp_path, {"model.init_args.optimizer": {"class_path": "torch.optim.AdamW"}})
    outcome = lcot("fit", "-c", config, "--runs_dir", tmp_path, option)
    assert outcome.code == 2
    assert all(part in outcome.block for part in says), outcome.block


def test_the_base_of_data_sets_is_no_data_set(tmp_path: Path) -> None:
    for changes, says in (
        ({"data": {}}, "data has settings, but no class"),
        ({"data": {"class_path": "lcot.datamodules.ReasoningDataModule"}}, "has no make_source, vocabulary"),
        ({"model.init_args.backbone": [1]}, "model.backbone is '[1]'"),
    ):
        outcome = lcot("fit", "-c", write_config(tmp_path, changes), "--runs_dir", tmp_path)
        assert outcome.code == 2 and says in outcome.block, outcome.block
    check_whole("data", "lcot.datamodules.ProsQA")


def test_a_trial_draws_nothing() -> None:
    module = Coconut(backbone=Backbone(config={"model_type": "llama"}))
    before = torch.get_rng_state()
    try_optimizer(module)
    assert torch.equal(torch.get_rng_state(), before)

    def broken(parameters: object) -> torch.optim.Optimizer:
        raise KeyError

    module.optimizer = broken
    with pytest.raises(UserError, match="the optimizer cannot be made") as refusal:
        try_optimizer(module)
    assert refusal.value.why == "KeyError"


def test_a_name_of_several_classes(tmp_path: Path) -> None:
    import transformers.optimization  # noqa: F401  # has an Adafactor of its own

    outcome = lcot("fit", "-c", write_config(tmp_path), "--model.optimizer=Adafactor")
    assert outcome.code == 2 and "there are several classes 'Adafactor'" in outcome.block
    assert "where: --model.optimizer=Adafactor" in outcome.block
    assert "give one: torch.optim.Adafactor, transformers" in outcome.block
