"""Settings that the parser lets pass, and refusals that come wrapped in something else."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

from lcot.callbacks.best_checkpoint import METRICS
from lcot.errors import UserError
from lcot.settings import Settings, cut

_ORIGINS = (
    *("data.tokenizer", "data.dialogue.assistant"),
    *("model.backbone.path", "model.assistant.path", "model.teacher.path"),
)
"""Settings that may lead into the folder of another run."""

_LONGEST = 200
"""Bytes of a folder's name; file systems take 255, and files beside a run's folder have longer names than it."""

_Moot = tuple[bool, str, tuple[str, ...], str]
"""Whether it applies, the section, names in it, and why they do nothing."""


# What a data set's generator is told, by class.
_GENERATOR = {
    "ProsQA": ("nodes", "hops", "symbols", "parents", "root", "rival"),
    "ProntoQA": ("hops", "concepts", "families"),
    "Multiplication": ("digits",),
}


# What of the dashboard is about training alone.
_TRAINING_SHOWN = ("questions", "curves", "custom_scalars", "thoughts", "tree", "tree_question")


def check_trainer(trainer: Any) -> None:
    """Refuse what would break a run, leave nothing to train, or have no effect.

    Raises:
        UserError: If there is such a setting.
    """
    if trainer.max_steps not in (-1, None):
        raise UserError(
            f"max_steps is {trainer.max_steps}",
            where="trainer.max_steps",
            why="a curriculum counts epochs, and a run that is cut by steps cannot be continued exactly",
            fix="use trainer.max_epochs",
        )
    if trainer.max_epochs is None or trainer.max_epochs == 0 or trainer.max_epochs < -1:
        raise UserError(
            f"max_epochs is {'not set' if trainer.max_epochs is None else trainer.max_epochs}",
            where="trainer.max_epochs",
            why="curriculum and learning rate depend on where the run ends",
            fix="use 1 or more, or -1 for a run that you stop yourself",
        )
    if trainer.min_epochs is not None and 0 <= trainer.max_epochs < trainer.min_epochs:
        raise UserError(
            f"min_epochs is {trainer.min_epochs}, and max_epochs {trainer.max_epochs}",
            where="trainer.min_epochs",
            fix="use one that is not larger",
        )
    if trainer.max_time in ({}, "") or trainer.val_check_interval in ({}, ""):
        raise UserError(
            "a time is empty", where="trainer.max_time, trainer.val_check_interval", fix="write '00:12:00:00', or null"
        )
    for name, unset, why, fix in (
        ("default_root_dir", None, "a run has a folder of its own", "use --runs_dir and --name"),
        ("use_distributed_sampler", False, "batches are shared between the processes already", "leave it out"),
        (
            "reload_dataloaders_every_n_epochs",
            0,
            "the rows of an epoch follow from its number, and loaders stay as they are",
            "leave it out",
        ),
        ("overfit_batches", 0, "it would replace the batches that follow the curriculum", "train on fewer examples"),
    ):
        if trainer[name] != unset:
            raise UserError(f"{name} is {trainer[name]}", where=f"trainer.{name}", why=why, fix=fix)


def check_name(name: str, runs_dir: str) -> None:
    """Refuse a name that is no folder of its own below the folder of all runs, or none that a disk can have.

    Raises:
        UserError: If it is one.
    """
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or not name.strip():
        raise UserError(f"the run's name is {name!r}", where="--name", fix="give a name, and its folder as --runs_dir")
    if not name.isprintable():
        raise UserError(
            f"the run's name is {name!r}", where="--name", why="it holds what cannot be printed", fix="use letters"
        )
    for option, path in (("--name", name), ("--runs_dir", runs_dir)):
        longest = max((len(os.fsencode(part)) for part in Path(path).parts), default=0)
        if longest > _LONGEST or len(os.fsencode(path)) > 10 * _LONGEST:
            raise UserError(
                f"{option} has {len(path):,} letters: {cut(path, 40)}",
                where=option,
                why=f"a folder's name takes {_LONGEST} bytes at most here",
                fix="give a shorter one",
            )


def check_processes(trainer: Any) -> None:
    """Refuse more processes on a CPU than it has cores: each would train with a copy of everything, and wait.

    Two are let through anywhere, to try out what several do.

    Raises:
        UserError: If there are more.
    """
    given = str(trainer.devices)
    if trainer.accelerator not in ("cpu", "auto") or not given.isdecimal():
        return
    if trainer.accelerator == "auto" and (torch.cuda.is_available() or torch.backends.mps.is_available()):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if int(given) > max(2, cores):
        raise UserError(
            f"devices is {given}",
            where="trainer.devices",
            why=f"on a CPU it is the number of processes, and there {'are' if cores != 1 else 'is'} {cores}"
            f" core{'s' * (cores != 1)}",
            fix=f"use {cores} or less; threads of one process are set by --threads",
        )


def check_origins(settings: Settings) -> None:
    """Refuse to begin with a run that is not there yet: some configs build on others, which are trained first.

    Raises:
        UserError: If there is one, with where its config says how it is made.
    """
    last = {setting.key: setting for setting in settings.found}
    for key, setting in last.items():
        parts = Path(setting.value).parts
        if key not in _ORIGINS or len(parts) < 2 or parts[0] != "runs" or Path(*parts[:2]).exists():
            continue
        name = Path(setting.config).name
        made = f"the comment at the head of {setting.config} says how" if setting.config else "with lcot fit"
        raise UserError(
            f"there is no run {str(Path(*parts[:2]))!r} to begin with",
            where=key,
            fix=f"train it first: {made}{', and make softcot does all of it' if name == 'softcot_prosqa.yaml' else ''}",
        )


def check_monitor(monitor: str) -> None:
    """Refuse a metric that validation never reports: no checkpoint would ever be the best.

    Raises:
        UserError: If it is one.
    """
    if monitor not in METRICS:
        raise UserError.unknown("metric", monitor, METRICS, where="best_checkpoint.monitor")


def ignored_settings(settings: Settings, config: Any) -> list[str]:
    """What was given on the command line and does nothing there, one line each.

    Only the command line counts. Configs are laid over one another, and a run's ``config.yaml`` names every setting: a
    method's overlay makes some of the data set's settings moot, and nobody wants to hear of that.

    Args:
        settings: What the user set.
        config: The parsed settings of the command.
    """
    data, schedule, model = config.data.init_args, config.curriculum.schedule.init_args, config.model.init_args
    kind = str(config.curriculum.schedule.class_path).rpartition(".")[2]
    wordless = kind == "Tokenwise" or schedule.get("kind") == "none"
    whole = schedule.get("written", "all") == "all"
    moot = [
        (whole, "data", ("stage_target",), "the curriculum writes all remaining steps (written 'all')"),
        (
            schedule.get("kind") != "soft",
            "data.dialogue",
            ("assistant", "assistant_prompt"),
            "an assistant is asked for soft thoughts only (kind 'soft')",
        ),
        *_moot_model(model),
        *_moot_data(str(config.data.class_path).rpartition(".")[2], data, settings.command),
        (
            wordless and settings.command in ("test", "predict"),
            "curriculum",
            ("eval_stage", "eval_thoughts"),
            "there are no thoughts",
        ),
        (
            schedule.get("kind") == "none",
            "curriculum.schedule",
            ("markers", "passes"),
            "there are no thoughts (kind 'none')",
        ),
        (
            _never(schedule.get("mix_probability", 0.0)),
            "curriculum.schedule",
            ("mix_support", "mix_weights"),
            "mix_probability is 0",
        ),
        (
            settings.command == "fit",
            "curriculum",
            ("eval_stage", "eval_thoughts"),
            "fit validates in the stage that it trains",
        ),
        (settings.command == "validate", "model.voting", ("samples", "runs"), "validation takes one text a question"),
        (
            settings.command in ("validate", "predict"),
            "trainer",
            ("logger",),
            f"{settings.command} adds nothing to a run's curves",
        ),
        (settings.command != "fit", "dashboard", _TRAINING_SHOWN, f"{settings.command} adds nothing to a run's curves"),
        (
            settings.command in ("validate", "predict"),
            "dashboard",
            ("hparams",),
            f"{settings.command} writes no curves",
        ),
        (settings.command == "fit" and wordless, "dashboard", ("thoughts",), "there are no thoughts"),
        (
            settings.command == "fit" and (kind != "Stepwise" or wordless),
            "dashboard",
            ("tree", "tree_question"),
            "a search tree needs thoughts that stand for steps (curriculum.schedule Stepwise)",
        ),
    ]
    given = {setting.key: setting.place for setting in settings.found if setting.place.startswith("--")}
    lines = [
        f"{given[f'{section}.{name}']} has no effect: {why}"
        for applies, section, names, why in moot
        for name in names
        if applies and f"{section}.{name}" in given
    ]
    epochs, planned = schedule.get("epochs_per_stage"), config.trainer.max_epochs
    place = given.get("curriculum.schedule.epochs_per_stage")
    if place and settings.command == "fit" and isinstance(epochs, list) and planned != sum(epochs):
        why = f"the last stage goes on to trainer.max_epochs, {planned}, and the sum is {sum(epochs)}"
        lines.append(f"the last number of {place} has no effect: {why}")
    return lines


def _moot_model(model: Any) -> list[_Moot]:
    scheduler = model.get("lr_scheduler")
    options = scheduler.get("init_args", {}) if scheduler is not None else {}
    fresh = model.backbone.get("config") is not None
    sampling = model.get("sampling")
    greedy = sampling is None or sampling.temperature == 0
    thoughts = model.get("thoughts", "projected")  # SoftCoT's
    known = model.get("assistant") is None or model.assistant.get("lora") is None
    reads = "the assistant reads the questions in every step"
    return [
        (
            thoughts in ("placeholders", "zeros"),
            "model",
            ("assistant", "assistant.path", "states"),
            f"no assistant makes {thoughts}",
        ),
        (thoughts == "words", "model", ("states",), "the assistant writes words, and no states are kept"),
        (model.get("paths") is not None, "model", ("states",), f"with paths, {reads}"),
        (not known, "model", ("states",), f"with LoRA on the assistant, {reads}"),
        (greedy, "model.sampling", ("top_k", "top_p", "seed"), "decoding is greedy (temperature 0)"),
        (fresh, "model.backbone", ("new_tokens",), "all rows of a model from scratch are new"),
        (
            options.get("decay") == 0,
            "model.lr_scheduler",
            ("floor", "shape"),
            "the rate never falls (decay 0)",
        ),
    ]


def _moot_data(kind: str, data: Any, command: str | None) -> list[_Moot]:
    whole = data.get("path") is not None  # one file for all splits
    asked = data.get("dialogue") is not None
    files = {split: whole or data.get(f"{split}_path") is not None for split in ("train", "val", "test")}
    used = {"fit": ("train", "val"), "validate": ("val",)}.get(str(command), ("test",))
    read = all(files[split] for split in used)
    around = ("after_question", "after_step", "between_steps")
    redraw = "a file names its nodes itself, so it does no more than 'order'"
    return [
        (data.get("max_length") is None, "data", ("too_long",), "data.max_length is not set"),
        (command != "fit", "data", ("train_ask",), f"{command} trains nothing"),
        (asked, "data.text", around, "a prompt file writes the rows (data.dialogue)"),
        *(
            (files[split] and not whole, "data", (f"{split}_size",), f"data.{split}_path is read whole")
            for split in files
        ),
        (read, "data", _GENERATOR.get(kind, ()), "all examples are read from files"),
        (files["train"] and kind == "Multiplication", "data", ("redraw",), "data.train_path is read as it stands"),
        (files["train"] and kind != "Multiplication" and data.get("redraw") == "all", "data", ("redraw",), redraw),
    ]


def _never(probability: float | list[float]) -> bool:
    return not any(probability) if isinstance(probability, list) else not probability


def trainer_error(err: Exception, settings: Settings) -> UserError:
    """What Lightning says about the trainer's settings, beside those of them that it names."""
    text = str(err).strip().splitlines()[0] if str(err).strip() else type(err).__name__
    sections = ("trainer.", "best_checkpoint.", "last_checkpoint.")
    last = {setting.key: setting for setting in settings.found if setting.key.startswith(sections)}
    named = [
        setting.place
        for key, setting in last.items()
        if key.rpartition(".")[2] in text or (setting.value and setting.value in text)
    ]
    return UserError("the trainer cannot be used as it is set", where="; ".join(named) or "trainer", why=text)


def raised_in(package: str, err: BaseException) -> bool:
    """Whether an exception was raised by a package's own code, and not by what it calls."""
    frame = err.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__", "")).partition(".")[0] == package


def memory_error(err: Exception, command: str | None) -> UserError | None:
    """What to do where memory was not enough; ``None`` if that is not what an exception is about.

    Args:
        err: What was raised, wherever it was: in a step, its backward pass, or before.
        command: What was to be done.
    """
    text = str(err).strip()
    # The allocator of a CPU has no exception of its own.
    if not (isinstance(err, torch.OutOfMemoryError) or "DefaultCPUAllocator" in text):
        return None
    first = ". ".join(text.splitlines()[0].split(". ")[:2]) if text else "an allocation failed"
    fix = "lower data.eval_batch_size, model.max_new_tokens or model.voting.samples; give frozen models dtype bfloat16"
    if command == "fit":
        fix = (
            "lower data.batch_size (trainer.accumulate_grad_batches keeps the rows of a step), data.eval_batch_size or"
            " the number of thoughts; set model.activation_checkpointing to true and trainer.precision to bf16-mixed;"
            " give frozen models dtype bfloat16"
        )
    return UserError(
        "there is not enough memory", why=f"{first.rstrip('.')}; what was saved before is untouched", fix=fix
    )


def refusal_in(err: BaseException) -> UserError | None:
    """What a constructor refused: the parser reports it as a value that fits none of a setting's types."""
    link: BaseException | None = err
    while link is not None:
        if isinstance(link, UserError):
            return link
        link = link.__cause__ or link.__context__
    found = re.search(r"Problem with given class_path '([^']+)':\s*\n\s*(.+)", str(err))
    if found is not None:
        return UserError(f"the class {found[1].rpartition('.')[2]!r} cannot be used", why=found[2].strip())
    found = re.search(r"Errors:\s*\n\s*- ([^\n]+).*Given value: Namespace\(class_path='([^']+)'", str(err), re.DOTALL)
    if found is None:
        return None
    return UserError(f"the class {found[2].rpartition('.')[2]!r} cannot be used", why=found[1].strip())
