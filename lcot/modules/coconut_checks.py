"""Settings of Coconut that do not go together, or not with a curriculum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lcot.errors import CheckpointError, UserError
from lcot.modules.objectives.base import Objective
from lcot.modules.parts import described_part
from lcot.modules.teacher import check_teaching
from lcot.reasoning.curriculum import Curriculum
from lcot.reasoning.feeds import Feed
from lcot.reasoning.given import Given
from lcot.reasoning.heads import Head
from lcot.reasoning.parallel import Looped
from lcot.reasoning.spanwise import Spanwise
from lcot.reasoning.thinker import Thinker
from lcot.reasoning.unmasked import Unmasked

_SAID = {"unmasked": "no mask over padding (unmasked)"}


def check_thoughts(
    schedule: Curriculum,
    thinker: Thinker | None,
    feed: Feed | None,
    objectives: Mapping[str, Objective],
    unmasked: Unmasked | None = None,
) -> None:
    """Refuse settings for thoughts that a curriculum has not, or counts otherwise.

    Raises:
        UserError: If there is nothing to one of them, or it counts thoughts a step otherwise.
    """
    kind, a_step = schedule.kind, getattr(schedule, "thoughts_per_step", None)
    parts = {"thinker": thinker, "feed": feed, "unmasked": unmasked}
    idle = [f"model.{name}" for name, part in parts.items() if part is not None]
    idle += [f"model.objectives.{name}" for name, one in objectives.items() if one.of_thoughts]
    if idle and kind != "continuous":
        raise UserError(
            f"the kind of thought is {kind!r}, and there are settings for continuous thoughts",
            where=f"curriculum.schedule.kind and {', '.join(idle)}",
            why="they would have no effect",
            fix="set kind to 'continuous', or these to null (objectives to weight 0)",
        )
    numbers = {number for stage in range(schedule.last_stage + 1) for number in schedule.numbers_trained(stage)}
    if idle and numbers == {0}:
        raise UserError(
            "no stage has thoughts, and there are settings for them",
            where=f"curriculum.schedule and {', '.join(idle)}",
            why="they would have no effect",
            fix="give rows at least one thought, or set these to null (objectives to weight 0)",
        )
    most = max(numbers, default=0)  # none that is fixed, where thoughts are made of spans
    for one in objectives.values():
        one.check_number(most)
    counting = {
        "thinker": thinker,
        **{f"objectives.{name}": one for name, one in objectives.items()},
    }
    for name, part in counting.items():
        own = getattr(part, "per_step", None)
        if own is not None and a_step is not None and own != a_step:
            raise UserError(
                f"per_step is {own}, and the curriculum has {a_step} thought{'s' * (a_step != 1)} a step",
                where=f"model.{name}.per_step and curriculum.schedule.thoughts_per_step",
                why="thoughts would be taken for those of other steps",
                fix="set both to the same number",
            )
        if own is not None and (left := [number for number in numbers if number % own]):
            raise UserError(
                f"per_step is {own}, and rows have {max(left)} thoughts",
                where=f"model.{name}.per_step and curriculum.schedule",
                why=f"{max(left) % own} of them would stand for no whole step",
                fix="let per_step go into the number of thoughts",
            )


def check_spans(module: Any, schedule: Curriculum) -> None:
    """Refuse spans that nobody thinks about, a thinker that is given none, a head for others, and a deaf teacher.

    Args:
        module: A Coconut, with its settings.
        schedule: The curriculum.

    Raises:
        UserError: If there is one of these.
    """
    thinker, feed = module.thinker, module.feed
    spans, given = isinstance(schedule, Spanwise), isinstance(thinker, Given)
    if spans != given:
        raise UserError(
            f"the curriculum is {type(schedule).__name__}, and the thinker is"
            f" {type(thinker).__name__ if thinker is not None else 'none'}",
            where="curriculum.schedule and model.thinker",
            why="thoughts are made of spans of the chain, and "
            + ("only Given does that" if spans else "only Spanwise has spans"),
            fix="use Spanwise and Given together, as -c cmtp does",
        )
    if not isinstance(schedule, Spanwise) or not isinstance(feed, Head):
        return
    (low, high), own = schedule.sizes, feed.tokens_of_span()
    if own is not None and (low, high) != (own, own):
        raise UserError(
            f"span is {own}, and the curriculum's spans have {low if low == high else f'{low} to {high}'} token"
            f"{'s' * (high != 1)}",
            where="model.feed.span and curriculum.schedule.size",
            why="the head gives as many tokens as a span has",
            fix="set both to the same number",
        )
    if feed.draws and schedule.form.labels == "none":
        raise UserError(
            f"the feed is {type(feed).__name__}, and the thoughts have no labels",
            where="model.feed and curriculum.schedule.labels",
            why="thinking ends where the output head says eot, and nobody would teach it to",
            fix="set curriculum.schedule.labels to 'drawn'",
        )
    if module.teacher is not None and schedule.form.teacher == "marked":
        raise UserError(
            f"the teacher's rows are marked, and the teacher is {module.teacher.path!r}",
            where="curriculum.schedule.teacher and model.teacher",
            why="a frozen teacher has not learnt what bot and eot mean",
            fix="set curriculum.schedule.teacher to 'plain'",
        )


def check_together(module: Any) -> None:
    """Refuse settings that do not go with a thinker, a feed or objectives.

    Args:
        module: A Coconut, with its settings.

    Raises:
        UserError: If there are any.
    """
    rounds, fed, open_ = module.thinker is not None, module.feed is not None, module.unmasked is not None
    for there, setting, value, why in (
        (
            rounds and module.halting is not None,
            "thinker, model.halting",
            "a classifier",
            "it ends thoughts that come one after another, each the state before it",
        ),
        (
            rounds and module.recycle == "pre_norm",
            "thinker, model.recycle",
            "pre_norm",
            "a thinker reads states behind the norm",
        ),
        (
            rounds and module.compiled_decoding,
            "thinker, model.compiled_decoding",
            "true",
            "compiled passes know none",
        ),
        (
            fed and module.halting is not None,
            "feed, model.halting",
            "a classifier",
            "it feeds states as they are",
        ),
        (fed and module.compiled_decoding, "feed, model.compiled_decoding", "true", "compiled passes know no feed"),
        (
            open_ and module.halting is not None,
            "unmasked, model.halting",
            "a classifier",
            "nothing that was published does both",
        ),
        (
            open_ and module.compiled_decoding,
            "unmasked, model.compiled_decoding",
            "true",
            "compiled passes mask padding",
        ),
        (
            open_ and isinstance(module.thinker, Looped),
            "unmasked, model.thinker",
            "Looped",
            "the released code of LOTUS masks padding in every pass",
        ),
        (
            open_ and isinstance(module.thinker, Given),
            "unmasked, model.thinker",
            "Given",
            "its thoughts are read in the pass of the question, which is masked",
        ),
    ):
        if there:
            first = setting.partition(",")[0]
            raise UserError(
                f"{setting.rpartition('.')[2]} is {value}, and there is {_SAID.get(first, f'a {first}')}",
                where=f"model.{setting}",
                why=why,
                fix="leave one of them out",
            )
    if open_:
        module.unmasked.check_attention(module.backbone.attention)
    check_teaching(module.teacher, module.objectives.wanted)
    needs = {f"objectives.{name}": one.head for name, one in module.objectives.wanted.items() if one.head is not None}
    if isinstance(module.thinker, Given):
        needs = {"thinker": Head, **needs}
    for name, kind in needs.items():
        if not isinstance(module.feed, kind):
            raise UserError(
                f"there is a {type(module.thinker).__name__ if name == 'thinker' else name.partition('.')[2]}, and the"
                f" feed is {type(module.feed).__name__ if module.feed is not None else 'none'}",
                where=f"model.{name}, model.feed",
                why="a head makes the thoughts when a question is asked"
                if name == "thinker"
                else f"it teaches a {kind.__name__}",
                fix=f"set model.feed to {'SpanHead' if kind is Head else kind.__name__}",
            )
    if module.ends_thoughts and _own(module, "think") and not _own(module, "thinkings"):
        by = "thinker" if isinstance(module.thinker, Given) else "halting"
        raise UserError(
            f"{type(module).__name__} has a think() of its own, and the number of thoughts is not fixed",
            where=f"model.{by}",
            why="questions would be thought about in another way, until there is enough",
            fix=f"write a thinkings() as well, or leave model.{by} out",
        )
    every = [name for name, one in module.objectives.wanted.items() if one.every_round]
    if every and not rounds:
        raise UserError(
            f"the objective {every[0]!r} looks at each round, and thoughts come one after another",
            where=f"model.objectives.{every[0]}, model.thinker",
            fix="give a thinker such as Looped, or let the objective look at the last states",
        )


def _own(module: Any, name: str) -> bool:
    """Whether a method of a module is none of Coconut's."""
    return next(kind for kind in type(module).__mro__ if name in vars(kind)).__module__ != "lcot.modules.coconut"


def check_saved(
    saved: Mapping[str, Any], recycle: str, parts: Mapping[str, Thinker | Feed | None], halts: bool, halting: bool
) -> None:
    """Check that a checkpoint's thoughts come about as those of the config.

    Args:
        saved: The checkpoint's description.
        recycle: Which states the config feeds back.
        parts: The config's thinker and feed, by name.
        halts: Whether the checkpoint has a classifier that ends the thoughts.
        halting: Whether the config has one.

    Raises:
        CheckpointError: If anything is not the same.
    """
    own = "use the config.yaml of the checkpoint's run"
    if saved["recycle"] != recycle:
        raise CheckpointError(
            f"the checkpoint's thoughts are states of kind {saved['recycle']!r}, and the config has {recycle!r}",
            where="model.recycle",
            fix=own,
        )
    for name, part in parts.items():
        then, now = saved.get(name), described_part(part)
        if then != now:
            raise CheckpointError(
                f"the checkpoint's {name} is {_words(then)}, and the config's is {_words(now)}",
                where=f"model.{name}",
                why="the model would think in a way that it never learned",
                fix=own,
            )
    if halts != halting:
        words = {True: "a classifier that ends the thoughts", False: "no classifier"}
        raise CheckpointError(
            f"the checkpoint has {words[halts]}, and the config has {words[halting]}", where="model.halting", fix=own
        )


def _words(part: Mapping[str, Any] | None) -> str:
    if part is None:
        return "none"
    return f"{part['class']}({', '.join(f'{name}={value}' for name, value in part['settings'].items())})"
