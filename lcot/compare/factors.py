"""In which factors two methods differ, by their settings and not by their names.

Some settings say the same in many words, or follow from others: without thoughts nothing is fed back, has markers or a
number; a schedule of one stage is no curriculum. So settings are gathered into factors first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lcot.compare.origins import method_differences
from lcot.runs.run import Run
from lcot.runs.settings import Flat, differences, shown

_PARTS = {
    "thinker": "one thought after another",
    "feed": "the state as it is",
    "teacher": "its own teacher",
    "thoughts": "projected",
}
"""Parts of a method, and what there is without one."""

_METHOD = ("curriculum", "model.objectives", *(f"model.{name}" for name in _PARTS))
"""Groups of settings that make a method; in all others runs that are compared have to be alike, but for one."""

_KINDS = {"continuous": "fed-back states", "pause": "pauses", "soft": "soft thoughts", "none": "no thoughts"}
_FIXED_KINDS = {"Tokenwise": "none", "Spanwise": "continuous"}
"""What schedules think in that leave no choice."""

_OF_THE_THOUGHTS = ("kind", "passes", "markers", "thoughts_per_step", "thoughts", "inference_thoughts", "hidden")
"""Settings of a schedule that are factors of their own."""

_SCHEDULE = "curriculum.schedule"
_CLASS = "class_path"
_MODULE = "model.class_path"


@dataclass(frozen=True, slots=True)
class Factors:
    """What two methods differ in.

    Attributes:
        named: In words, one each: ``fed-back states or pauses``.
        alike: Whether nothing differs beside the method, or one other setting alone.
    """

    named: tuple[str, ...]
    alike: bool


def factors(left: Run, right: Run) -> Factors:
    """What two runs differ in, beside seeds.

    Args:
        left: One of them.
        right: The other.
    """
    # Settings of two classes are looked at as if they were of the first.
    alike = replace(right, settings={**right.settings, _MODULE: left.settings.get(_MODULE)})
    keys = method_differences(left, alike)
    first, second = _Method(left.settings), _Method(right.settings)
    named = [*_of_thoughts(first, second), *_of_parts(first, second, keys), *_of_objectives(first, second)]
    if differences({_MODULE: left.settings.get(_MODULE)}, {_MODULE: right.settings.get(_MODULE)}):
        named.append(_or(first.short(_MODULE), second.short(_MODULE)))
    # What stands at the places of the thoughts decides whether there is anything to train.
    follows = ("ckpt_path",) if any(_under(key, ("model.thoughts",)) for key in keys) else ()
    others = [key for key in keys if not _under(key, (*_METHOD, *follows))]
    if len(others) == 1:
        named.append(_or(shown(left.settings, others[0]), shown(right.settings, others[0])))
    return Factors(tuple(named), not others or len(others) == len(named) == 1)


@dataclass(frozen=True, slots=True)
class _Method:
    """The settings of a method, as factors need them."""

    settings: Flat
    kind: str | None = field(init=False)

    def __post_init__(self) -> None:
        fixed = _FIXED_KINDS.get(self.schedule)
        object.__setattr__(self, "kind", fixed or self.settings.get(f"{_SCHEDULE}.kind"))

    def short(self, key: str) -> str:
        return str(self.settings.get(key)).rpartition(".")[2]

    @property
    def schedule(self) -> str:
        """The schedule's class."""
        return self.short(f"{_SCHEDULE}.{_CLASS}")

    def of_schedule(self, name: str, default: Any) -> Any:
        """A setting of the schedule."""
        return self.settings.get(f"{_SCHEDULE}.{name}", default)

    @property
    def stepwise(self) -> bool:
        """Whether each thought has a pass of its own."""
        chosen = self.of_schedule("passes", "auto")
        return bool(chosen == "multiple" or (chosen == "auto" and self.kind == "continuous"))

    @property
    def numbers(self) -> tuple[Any, ...]:
        """How many thoughts there are in the last stage, in training and when answering, and what forces others."""
        if self.schedule == "Stepwise":
            most = self.of_schedule("max_stage", 6) * self.of_schedule("thoughts_per_step", 1)
            counts = (most, most)
        else:
            trained = self.of_schedule("thoughts", 0)
            answered = self.of_schedule("inference_thoughts", None)
            counts = (trained, trained if answered is None else answered)
        return (*counts, *(self.settings.get(f"curriculum.{name}") for name in ("eval_stage", "eval_thoughts")))

    @property
    def hides(self) -> bool:
        """Whether steps are hidden when answering."""
        return bool(self.schedule != "Fixed" or self.of_schedule("hidden", "all") == "all")

    @property
    def curriculum(self) -> Flat | None:
        """The settings by which steps vanish; ``None`` in a single stage."""
        if self.schedule == "Fixed":
            return None
        aside = ("eval_stage", "eval_thoughts", *(f"schedule.{name}" for name in _OF_THE_THOUGHTS))
        keys = [key for key in self.settings if _under(key, ("curriculum",))]
        return {key: self.settings[key] for key in keys if key.removeprefix("curriculum.") not in aside}

    def part(self, name: str) -> str:
        """A part in words: its class, with settings where they are not the only ones that there are."""
        group = f"model.{name}"
        if f"{group}.{_CLASS}" in self.settings:
            given = _given(self.settings, group)
            return self.short(f"{group}.{_CLASS}") + (f" ({given})" if given else "")
        value = self.settings.get(group)
        return _given(self.settings, group) or (_PARTS[name] if value is None else str(value))

    @property
    def objectives(self) -> Mapping[str, Flat]:
        """What is learnt beside the text, by name; what has no weight is not learnt."""
        found: dict[str, Flat] = {}
        for key, value in self.settings.items():
            if key.startswith("model.objectives."):
                name, _, rest = key.removeprefix("model.objectives.").partition(".")
                found.setdefault(name, {})[f"objective.{rest}"] = value
        return {name: given for name, given in found.items() if given.get("objective.weight", 1.0) or name == "text"}


def _of_thoughts(first: _Method, second: _Method) -> Iterator[str]:
    kinds = first.kind, second.kind
    if kinds[0] != kinds[1]:
        yield _or(*(_KINDS.get(str(method.kind), f"thoughts of {method.schedule}") for method in (first, second)))
    elif first.stepwise != second.stepwise and kinds[0] in ("continuous", "pause"):
        words = {True: "a pass for each thought", False: "one pass for all thoughts"}
        yield _or(words[first.stepwise], words[second.stepwise])
    if "none" not in kinds:
        if first.numbers != second.numbers:
            yield _or(*_numbers(first, second))
        markers = [method.of_schedule("markers", "always") for method in (first, second)]
        if markers[0] != markers[1]:
            yield _or(*(f"markers {place}" for place in markers))
    if first.hides != second.hides:
        words = {True: "hidden steps", False: "written steps"}
        yield _or(words[first.hides], words[second.hides])
    yield from _of_curricula(first, second)


def _numbers(*methods: _Method) -> list[str]:
    """Numbers of thoughts in words: that of training where it is not the one of answering, and what was forced."""
    said = []
    for method in methods:
        trained, answered, stage, forced = method.numbers
        text = f"{answered} thoughts" if trained == answered else f"{answered} thoughts after training with {trained}"
        if forced is not None:
            text = f"{forced} thoughts after training with {trained}"
        said.append(text if stage is None else f"{text} in stage {stage}")
    return said


def _of_curricula(first: _Method, second: _Method) -> Iterator[str]:
    one, other = first.curriculum, second.curriculum
    if one is not None and other is not None:
        keys = differences(one, other)
        if first.schedule != second.schedule:
            yield f"{_or(first.schedule, second.schedule)} curriculum"
        elif keys:
            yield _or(*(", ".join(shown(given, key) for key in keys[:2]) for given in (one, other)))
    elif one is not None:
        yield f"{first.schedule} curriculum or none"
    elif other is not None:
        yield f"no curriculum or {second.schedule}"


def _of_parts(first: _Method, second: _Method, keys: Sequence[str]) -> Iterator[str]:
    for name in _PARTS:
        # What makes thoughts of states says nothing where one of the methods has no states to make them of.
        of_states = name in ("thinker", "feed")
        if any(_under(key, (f"model.{name}",)) for key in keys) and not (of_states and first.kind != second.kind):
            yield _or(first.part(name), second.part(name))


def _of_objectives(first: _Method, second: _Method) -> Iterator[str]:
    sides = first.objectives, second.objectives
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        given = [side.get(name) for side in sides]
        if name == "text":
            weights = [side.get("objective.weight", 1.0) if side else 1.0 for side in given]
            if weights[0] != weights[1]:
                yield _or(*(f"text weighted {weight:g}" for weight in weights))
        elif given[0] is None or given[1] is None:
            yield f"with objective {name} or without" if given[1] is None else f"without objective {name} or with"
        elif keys := differences(given[0], given[1]):
            yield _or(*(f"{name} of {', '.join(shown(side, key) for key in keys[:2])}" for side in given if side))


def _given(settings: Flat, group: str) -> str:
    """The settings of a group that say something, in words."""
    names = [key for key in settings if key.startswith(f"{group}.") and not key.endswith(_CLASS)]
    return ", ".join(shown(settings, key) for key in names if settings[key] is not None)


def _or(left: str, right: str) -> str:
    return f"{left} or {right}"


def _under(key: str, groups: tuple[str, ...]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)
