"""What tests of modules, data and callbacks train with: a tiny model on a handful of graphs, in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch

from lcot.callbacks import CurriculumCallback
from lcot.datamodules import ProsQA
from lcot.modules import Backbone, Coconut
from lcot.reasoning.curriculum import Curriculum, Fixed
from lcot.reasoning.stepwise import Stepwise

GPT2: dict[str, Any] = {
    "model_type": "gpt2",
    "n_embd": 16,
    "n_layer": 1,
    "n_head": 2,
    "n_positions": 96,
    "attn_pdrop": 0.0,
    "embd_pdrop": 0.0,
    "resid_pdrop": 0.0,
}


def sgd(parameters: Any) -> torch.optim.Optimizer:
    """Steps that are the gradients themselves."""
    return torch.optim.SGD(parameters, lr=0.1)


def tiny_module(**changes: Any) -> Coconut:
    """Coconut on one layer of GPT-2."""
    return Coconut(**{"backbone": Backbone(config=dict(GPT2)), "max_new_tokens": 2, **changes})


def tiny_data(**changes: Any) -> ProsQA:
    """Compact graphs: 12 to train on, 5 to validate, 5 to test."""
    small = {"nodes": (5, 8), "hops": (1, 3), "symbols": 12, "train_size": 12, "val_size": 5, "test_size": 5}
    return ProsQA(**{**small, "style": "compact", "batch_size": 4, "seed": 0, **changes})


def no_thoughts() -> Curriculum:
    """Chains of thought only."""
    return Fixed(hidden="none")


def stages(**changes: Any) -> Stepwise:
    """Stages 0, 1 and 2 of one epoch each."""
    return Stepwise(**{"epochs_per_stage": 1, "max_stage": 1, **changes})


def tiny_trainer(
    folder: Path, curriculum: Curriculum | CurriculumCallback, *callbacks: L.Callback, **changes: Any
) -> L.Trainer:
    """A quiet trainer on the CPU."""
    clock = curriculum if isinstance(curriculum, CurriculumCallback) else CurriculumCallback(curriculum)
    plain = {
        "max_epochs": 3,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(callback, L.pytorch.callbacks.Checkpoint) for callback in callbacks),
        "num_sanity_val_steps": 0,
        "default_root_dir": folder,
    }
    return L.Trainer(callbacks=[clock, *callbacks], **{**plain, **changes})
