"""Choices of SoftCoT that do not fit one another, the run that they are for, or a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from lcot.errors import CheckpointError, UserError
from lcot.modules.assistant import assistants_settings
from lcot.modules.backbone import Backbone
from lcot.modules.description import config_differences
from lcot.modules.lora import LoRA
from lcot.modules.paths import Paths
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.dialogue import Dialogue

Thoughts = Literal["projected", "random", "zeros", "placeholders", "words"]
"""What stands at the places of the soft thoughts. ``projected``: the assistant's states through the trained projection,
the method itself. The others need no training: ``random``, its states through a projection as it was drawn; ``zeros``,
zero vectors; ``placeholders``, the placeholder tokens as they are (CoT-Unk); ``words``, tokens that the assistant
writes (Assist-CoT)."""

ASKING = ("projected", "random", "words")
"""Those for which an assistant is asked."""


def check_assistant(settings: Any) -> None:
    """Refuse an assistant that cannot be, by the names of its own settings.

    Both models are described by one class, whose refusals name those of the language model; a parser that makes the
    assistant's does not say whose it is.

    Args:
        settings: The options of the model, as they were parsed, before any of them was made.

    Raises:
        UserError: If there is an assistant that its class refuses.
    """
    given = settings.get("assistant")
    if given is None:
        return
    fields = dict(vars(given))
    with assistants_settings():
        Backbone(**{**fields, "lora": LoRA(**vars(fields["lora"])) if fields["lora"] is not None else None})


def check_choices(backbone: Backbone, assistant: Backbone | None, thoughts: str, paths: Paths | None) -> None:
    """Refuse settings that contradict one another.

    Args:
        backbone: The language model.
        assistant: The assistant, if there is one.
        thoughts: What stands at the places of the thoughts.
        paths: Several thoughts a question.

    Raises:
        UserError: If there are some.
    """
    if thoughts not in get_args(Thoughts):
        raise UserError.unknown("thoughts", str(thoughts), get_args(Thoughts), where="model.thoughts")
    asking = thoughts in ASKING
    if asking and assistant is None:
        raise UserError(
            f"thoughts is {thoughts!r}, and there is no assistant",
            where="model.assistant",
            fix="give its path, or thoughts that need none: placeholders or zeros",
        )
    for where, model in (("backbone", backbone), ("assistant", assistant if asking else None)):
        if model is not None and model.config is not None:
            raise UserError(
                f"model.{where}.config is given",
                where=f"model.{where}",
                why="SoftCoT keeps its models as they are, and the weights of a model from scratch are random",
                fix=f"set model.{where}.path to a pretrained model or a run, and config to null",
            )
    if paths is not None and thoughts not in ("projected", "random"):
        raise UserError(
            f"thoughts is {thoughts!r}, and there are {paths.count} paths",
            where="model.thoughts, model.paths",
            why="all paths would be the same",
            fix="set paths to null",
        )
    trained = [name for name, model in (("backbone", backbone), ("assistant", assistant)) if model and model.lora]
    if thoughts == "words" and trained:
        raise UserError(
            f"thoughts is 'words', and model.{trained[0]} has LoRA",
            where=f"model.thoughts, model.{trained[0]}.lora",
            why="what an assistant writes has no gradient, and nothing is trained on it here",
            fix="set lora to null, or choose other thoughts",
        )


def check_run(precision: str, asking: bool, dialogue: Dialogue | None) -> None:
    """Refuse a trainer or data that would spoil the method.

    Args:
        precision: The trainer's.
        asking: Whether an assistant is asked for thoughts.
        dialogue: The data module's.

    Raises:
        UserError: If one does.
    """
    if precision not in ("32-true", "16-mixed", "bf16-mixed"):
        raise UserError(
            f"precision is {precision!r}",
            where="trainer.precision",
            why="it would change the type of all weights: small steps of the projection would be lost to rounding, and"
            " the frozen weights would be others than those that the checkpoint names",
            fix="choose the types of frozen weights by model.backbone.dtype and model.assistant.dtype, and leave"
            " precision out, or set it to bf16-mixed",
        )
    if asking and dialogue is None:
        raise UserError(
            "there is an assistant, and no dialogue",
            where="data.dialogue",
            why="a prompt says how the assistant is asked for thoughts",
            fix="set data.dialogue.prompt, such as llama3/gsm8k",
        )


def check_reach(schedule: Curriculum) -> None:
    """Refuse a curriculum in which the projection has nothing to learn from.

    Raises:
        UserError: If no stage has thoughts.
    """
    stages = (schedule.resolve(stage, schedule.last_stage) for stage in range(schedule.last_stage + 1))
    if not any(stage.thoughts for stage in stages):
        raise UserError(
            "there are no thoughts in training",
            where="curriculum.schedule",
            why="the projection would learn nothing",
            fix="set its thoughts to 1 or more and kind to 'soft', or model.thoughts to 'placeholders'",
        )


def check_alike(schedule: Curriculum) -> None:
    """Refuse a curriculum in which some rows have thoughts and others none.

    Processes that share models out gather them in each pass together, and thoughts take a pass more.

    Raises:
        UserError: If it is one.
    """
    for stage in range(schedule.last_stage + 1):
        numbers = schedule.numbers_trained(stage)
        if 0 in numbers and len(numbers) > 1:
            raise UserError(
                "some rows have soft thoughts and others none, and the models are shared out among processes",
                where="curriculum.schedule, trainer.strategy",
                why=f"in stage {stage}, numbers of thoughts are {', '.join(map(str, sorted(numbers)))}",
                fix="give all rows thoughts (Fixed), or use strategy ddp",
            )


def check_saved(saved: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Compare what makes the thoughts.

    Args:
        saved: The description of the checkpoint's module.
        mine: That of the module that is to load it.

    Raises:
        CheckpointError: If it differs.
    """
    for what, where, then, now in (
        ("other thoughts", "model.thoughts", saved["soft_thoughts"], mine["soft_thoughts"]),
        ("another number of paths", "model.paths", _paths(saved), _paths(mine)),
        ("other tasks", "data.dialogue.tasks", _listed(saved["tasks"]), _listed(mine["tasks"])),
        ("another width of the assistant's states", "model.assistant", saved["states"], mine["states"]),
        ("another assistant", "model.assistant.lora", _lora(saved), _lora(mine)),
    ):
        if then != now:
            raise CheckpointError(
                f"the checkpoint was trained for {what}",
                where=where,
                why=f"{then} then, {now} now",
                fix="use the config.yaml of the checkpoint's run",
            )
    config, own = ((described["assistant"] or {}).get("config") for described in (saved, mine))
    differing = config_differences(config, own) if config and own else []
    if differing:
        raise CheckpointError(
            "the checkpoint was trained for another assistant: " + "; ".join(differing),
            where="model.assistant",
            why="its weights are the same, and its states are not",
            fix="give its folder the config.json that it had, or train anew",
        )


def _paths(described: Mapping[str, Any]) -> int:
    return Paths(**described["paths"]).count if described["paths"] else 1


def _listed(tasks: list[str]) -> str:
    return ", ".join(tasks) or "one for all"


def _lora(described: Mapping[str, Any]) -> str:
    saved = (described["assistant"] or {}).get("lora")
    return LoRA(**saved).name if saved else "frozen"
