"""Writes the run of imported weights: its module as it would be trained, filled, and kept as a checkpoint is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning as L
import torch

from lcot.callbacks.curriculum import asked_by
from lcot.callbacks.whole_files import WholeFiles
from lcot.cli.plain import yaml_safe
from lcot.errors import UserError
from lcot.modules.coconut import Coconut
from lcot.reasoning.keyed import run_seed
from lcot.runs.files import remove, write_whole
from lcot.runs.folder import RunFolder
from lcot.runs.released.files import Files
from lcot.runs.released.names import Released, check_method, check_told
from lcot.runs.released.vocabulary import with_padding
from lcot.runs.released.weights import fill

ORIGIN = "import.json"
"""Whose weights a run holds, in its folder."""


def write_run(
    folder: RunFolder,
    settings: Any,
    module: Any,
    data: Any,
    curriculum: Any,
    released: Released,
    files: Files,
    alpha: float | None,
    base: Path | None,
) -> None:
    """Fill a module with released weights, and write it as a run; nothing stays if anything fails.

    Args:
        folder: The run's folder, which holds none yet.
        settings: The parsed settings.
        module: The config's module.
        data: Its data module, which need not have any data yet.
        curriculum: Its curriculum.
        released: The weights.
        files: Where they are from.
        alpha: Of LoRA, where the files do not say it.
        base: The folder of the model that was trained.

    Raises:
        UserError: If the weights are not those of such a module.
    """
    if not isinstance(module, Coconut):
        raise UserError(
            f"the config's model is a {type(module).__name__}", where="model.class_path", fix="use Coconut and a method"
        )
    if data.tokenizer_name == "words":
        raise UserError(
            "data.tokenizer is 'words'",
            where="data.tokenizer",
            why="released weights know the ids of their own tokenizer only",
            fix="give the folder of the base model with its tokenizer: --base FOLDER, or --data.tokenizer=FOLDER",
        )
    schedule = curriculum.schedule
    stage = schedule.last_stage
    module.check_schedule(schedule)
    check_method(released, module, files)
    check_told(files, module, schedule.thoughts_at_inference(stage))
    tokenizer = data.set_up_tokenizer()
    special, words = with_padding(tokenizer, data.special, released)
    module.attach(tokenizer, special, data.text, data.extractors)
    module.build_model(run_seed())
    module.configure_model()
    with torch.no_grad():
        fill(module, released, files, special, words, alpha, base)
    entry = {
        **module.describe(),
        **asked_by(schedule, stage, data.dialogue),
        "imported": released.source,
    }
    state = module.state_dict()
    checkpoint = {
        "state_dict": {name: state[name] for name in module.trained_names()},
        "lcot": entry,
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": L.__version__,
    }
    settings.data.init_args.tokenizer = str(folder.tokenizer)  # with the tokens of thoughts in it
    origin = {"source": released.source, "files": list(map(str, files.paths)), "left_out": released.left_out}
    with folder.claimed(write=True, alone=True):
        try:
            WholeFiles().save_checkpoint(checkpoint, folder.last)
            write_whole(folder.path / ORIGIN, json.dumps(origin, indent=2) + "\n")
            remove(folder.tokenizer)
            folder.begin(yaml_safe(settings), tokenizer)
        except BaseException:
            for path in (folder.last, folder.path / ORIGIN, folder.config):
                remove(path)
            raise
