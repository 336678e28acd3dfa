"""What data make of a run without a word: chains that are not there, questions in two splits, sizes that cut settings.

A run is refused where it would not be what its config says; everything else is said in one line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.utilities.rank_zero import rank_zero_only

from lcot.datamodules.rows import Source, WithoutLastStep
from lcot.errors import DataError, UserError
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.example import ReasoningExample

_log = logging.getLogger("lcot")

_MANY = 99
"""More steps than any stage hides one by one."""


def say(line: str, *parts: object) -> None:
    """Warn in one line; of several processes, one speaks."""
    if getattr(rank_zero_only, "rank", 0) == 0:
        _log.warning(line, *parts)


def needs_chains(schedule: Curriculum) -> bool:
    """Whether a curriculum has steps written in any of its stages, or in spans; No-CoT hides whatever there is."""
    stages = [schedule.resolve(stage, _MANY) for stage in range(schedule.last_stage + 1)]
    return any(stage.hidden < _MANY or stage.span for stage in stages)


def check_chains(
    examples: Sequence[ReasoningExample],
    schedule: Curriculum | None,
    split: str,
    path: str,
    fix: str,
    views: Collection[str] = (),
    dropping: bool = False,
) -> None:
    """Refuse training data without any step where the method needs them, and say how many problems have none.

    Args:
        examples: Those of the split, with all their steps.
        schedule: The curriculum; ``None`` where there is none yet.
        split: Name of the split; a chain is asked of ``train`` alone, and looked for in ``val``.
        path: Where the examples are from.
        fix: How the chain is named in this data set.
        views: Rows that the objectives read beside the main one: each is made of the chain.
        dropping: Whether the last step of each chain is left out.

    Raises:
        DataError: If no training problem has a step.
    """
    written = schedule is not None and needs_chains(schedule)
    if schedule is None or split not in ("train", "val") or not (written or (views and split == "train")):
        return
    chains = [sum(bool(step.strip()) for step in example.steps) for example in examples]
    without, left = chains.count(0), sum(count > dropping for count in chains)
    if without < len(examples):
        if without:
            _log.info("%s of %s %s problems have no reasoning step", f"{without:,}", f"{len(examples):,}", split)
        if dropping and (dropped := chains.count(1)):
            what = "problems have one step, and none is left (data.last_step is 'drop')"
            _log.info("%s of %s %s %s", f"{dropped:,}", f"{len(examples):,}", split, what)
        if left or split == "val":
            return
    if split == "val":
        say("none of the %d val problems has a reasoning step: val/loss is that of their answers alone", without)
        return
    fields = ", ".join(map(repr, dict.fromkeys(["question", *examples[0].facts, "answer"])))
    instead = f"curriculum.schedule Fixed, hidden: all{', no objectives' * bool(views)}"
    needs = "the curriculum writes and hides steps, and there would be nothing to hide" if written else _taught(views)
    if without < len(examples):
        raise _none_left(len(examples), path, needs)
    raise DataError(
        f"none of the {without:,} train problems has a reasoning step",
        where=path,
        why=f"{needs}; a record has {fields}",
        fix=f"{fix}; or train without a chain ({instead})",
    )


def with_steps(source: Source, dropping: bool, schedule: Curriculum, split: str, views: Collection[str]) -> Source:
    """A source as rows are made of it, unless a method that needs steps would have none to train on.

    Args:
        source: The examples.
        dropping: Whether the last step of each chain is left out.
        schedule: The curriculum.
        split: Name of the split; steps are asked of ``train`` alone.
        views: Rows that the objectives read beside the main one.

    Raises:
        DataError: If no training problem has a step left.
    """
    made = WithoutLastStep(source) if dropping else source
    if split == "train" and (views or (dropping and needs_chains(schedule))):
        if not any(made.example(index, 0).steps for index in range(len(made))):  # ends with the first that has
            needs = _taught(views) if views else "the curriculum writes and hides steps"
            if dropping:
                raise _none_left(len(made), "the data", needs)
            what, fix = f"none of the {len(made):,} train problems has a reasoning step", "use data with steps"
            raise DataError(what, where="the data and model.objectives", why=needs, fix=fix)
    return made


def _taught(views: Collection[str]) -> str:
    return f"the objectives read the written chain (their views: {', '.join(views)})"


def _none_left(number: int, path: str, needs: str) -> DataError:
    return DataError(
        f"none of the {number:,} train problems has a reasoning step left",
        where=f"data.last_step is 'drop', and {path}",
        why=f"{needs}; none has more than one step",
        fix="set data.last_step to 'keep'",
    )


def say_shared(
    written: Callable[[Any], Iterable[ReasoningExample] | None],
    paths: Mapping[str, str | None],
    split: Literal["val", "test"],
) -> None:
    """Say if questions of a split were trained on, or are those that the best checkpoint was chosen by.

    Args:
        written: The problems of a split as its file has them; ``None`` if it has none.
        paths: The path of each split.
        split: ``val`` or ``test``.
    """
    if getattr(rank_zero_only, "rank", 0) != 0:
        return
    try:
        train, own = written("train"), written(split)
        if train is not None and own is not None:
            _say_trained(train, split, own)
    except (UserError, OSError, RuntimeError):
        return  # the file of another command, and for that one to refuse
    if paths.get("train") is None:
        return
    train_path, val_path, test_path = (paths.get(name) for name in ("train", "val", "test"))
    if split == "test" and _is_one_file(test_path, val_path):
        say("data.test_path is the file of data.val_path: the best checkpoint was chosen by the questions of the test")
    if split == "val" and _is_one_file(test_path, train_path):
        say("data.test_path is the file of data.train_path: a test of this run tells what was learnt by heart")


def _say_trained(train: Iterable[ReasoningExample], split: str, examples: Iterable[ReasoningExample]) -> None:
    questions = [" ".join(example.question.split()) for example in examples]
    known = set(questions)
    trained = {question for example in train if (question := " ".join(example.question.split())) in known}
    shared = sum(question in trained for question in questions)
    if shared:
        say(
            "%s of %s %s questions are training questions too (data.train_path, data.%s_path): %s",
            *(f"{shared:,}", f"{len(questions):,}", split, split),
            "an accuracy over them tells what was learnt by heart"
            + (", and chooses the best checkpoint by it" if split == "val" else ""),
        )


def say_cut(split: str, examples: int, batch_size: int, batches: int, trainer: Any) -> None:
    """Say which settings are larger than the data.

    Args:
        split: Name of the split.
        examples: How many there are.
        batch_size: Rows of a batch, over all processes.
        batches: Batches of an epoch on one process.
        trainer: Whose settings count batches.
    """
    if split == "train" and batch_size > examples:
        say("a batch of data.batch_size would have %d rows, and the train split has %d", batch_size, examples)
    if getattr(trainer, "fast_dev_run", False):
        return  # it asks for as many batches as there are, at most
    named = [f"limit_{'predict' if split == 'predict' else split}_batches"]
    if split == "train":
        named.append("accumulate_grad_batches")
    for name in named:
        asked = getattr(trainer, name, None)
        if type(asked) is int and asked > batches:
            say("trainer.%s is %d, and an epoch of the %s split has %d", name, asked, split, batches)


def say_repeated(size: int, different: int, things: str) -> None:
    """Say that a training set is larger than what there is to fill it with: most of it stands there several times.

    Args:
        size: Examples of an epoch.
        different: How many of them can be different.
        things: What they are.
    """
    if size > 2 * different:
        say(
            "data.train_size is %s, and there are %s %s: each is trained on several times an epoch",
            *(f"{size:,}", f"{different:,}", things),
        )


def _is_one_file(path: str | None, known: str | None) -> bool:
    if path is None or known is None:
        return False
    try:
        return path == known or Path(path).expanduser().samefile(Path(known).expanduser())
    except (OSError, RuntimeError, ValueError):
        return False
