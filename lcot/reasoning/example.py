"""One reasoning problem, and the check that a record holds one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lcot.errors import DataError, shown


@dataclass(frozen=True, slots=True)
class ReasoningExample:
    """A question with its written reasoning.

    Attributes:
        question: The problem's text.
        steps: The written reasoning, one string a step, in order; empty where a problem has none.
        answer: The text that is asked for, without any marker such as ``###``.
        id: A name that is unique within its data set.
        facts: What the problem knows about itself (a graph, options, numbers), for metrics and analyses.
        alternatives: For each step the texts that may stand in its place when it is the only step to be written, itself
            among them; empty where the written step alone will do.
        pair: A name that two questions about one problem share, each with another answer; empty where a question stands
            alone.
    """

    question: str
    steps: tuple[str, ...]
    answer: str
    id: str
    facts: Mapping[str, object] = field(default_factory=dict)
    alternatives: tuple[tuple[str, ...], ...] = ()
    pair: str = ""


class Examples:
    """The examples of a batch.

    They are no sequence and no dataclass to whoever maps over a batch: Lightning's precision plugins would go through
    each of them in search of numbers, and stop at the first that is frozen.
    """

    __slots__ = ("_held",)

    def __init__(self, held: Iterable[ReasoningExample] = ()) -> None:
        self._held = tuple(held)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[ReasoningExample]:
        return iter(self._held)

    def __getitem__(self, place: int) -> ReasoningExample:
        return self._held[place]


def parse_example(record: object, *, where: str, default_id: str, need_steps: bool = True) -> ReasoningExample:
    """Check one decoded JSON record and turn it into an example.

    Args:
        record: What the JSON parser returned.
        where: File and position of the record, for messages.
        default_id: The id of a record that does not carry one.
        need_steps: Whether a record without any reasoning step is an error.

    Returns:
        The example; every key other than question, steps, answer and id goes into its ``facts``.

    Raises:
        DataError: If the record is no object, or a field is missing, empty or of the wrong type.
    """
    if not isinstance(record, dict):
        raise DataError(
            f"a record is {_kind(record)}, not an object", where=where, fix='write {"question": …, "steps": …}'
        )
    question = _text(record, "question", where)
    answer = _text(record, "answer", where)
    steps = record.get("steps")
    if not isinstance(steps, list):
        found = "missing" if "steps" not in record else _kind(steps)
        raise DataError(
            f'field "steps" is {found}',
            where=where,
            why=_fields(record) if found == "missing" else None,
            fix="give a list of strings, one a reasoning step",
        )
    if need_steps and not steps:
        raise DataError(
            'field "steps" is an empty list',
            where=where,
            why="a curriculum hides written steps, and this record has none",
            fix="remove the record, or write its reasoning as at least one step",
        )
    for number, step in enumerate(steps):
        if not isinstance(step, str) or not step.strip():
            raise DataError(
                f'field "steps"[{number}] is {"blank" if isinstance(step, str) else _kind(step)}',
                where=where,
                fix="every step is a string with some text",
            )
    for text in (question, answer, *steps):
        if "\x00" in text:
            raise DataError(f"a NUL character stands in {shown(text)}", where=where, fix="take it out")
    name = record.get("id", default_id)
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise DataError(f'field "id" is {_kind(name)}', where=where, fix="use a string or a whole number")
    facts = {key: value for key, value in record.items() if key not in ("question", "steps", "answer", "id")}
    return ReasoningExample(question, tuple(steps), answer, str(name), facts)


def _text(record: dict[str, object], key: str, where: str) -> str:
    if key not in record:
        raise DataError(f'field "{key}" is missing', where=where, why=_fields(record))
    value = record[key]
    if not isinstance(value, str):
        raise DataError(f'field "{key}" is {_kind(value)}', where=where, fix="it must be a string")
    if not value.strip():
        raise DataError(f'field "{key}" is blank', where=where, fix="it must hold some text")
    return value


def _fields(record: dict[str, object]) -> str:
    return f"the record has {', '.join(map(shown, record)) or 'no field'}"


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), f"of type {type(value).__name__}")
