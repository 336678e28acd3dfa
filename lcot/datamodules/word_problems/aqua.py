"""AQuA-RAT (arXiv 1705.04146): algebraic word problems with five options and a rationale."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from lcot.datamodules.files import FileReasoning
from lcot.datamodules.json_files import published_records
from lcot.datamodules.records import Record, parse_records
from lcot.datamodules.word_problems.solutions import (
    check_letter,
    lettered,
    options_of,
    split_solution,
    text_field,
    with_options,
)
from lcot.errors import DataError
from lcot.reasoning.example import ReasoningExample

# "The answer is B.", "ANSWER:B", "So the correct option is (B)", "E is the answer.", "Answer: B) 20%", "B"
_STATES_ANSWER = re.compile(
    r"(?:(?:so|hence|thus|therefore|the|correct|right|final|and|is|answer|ans|option|choice)[\s,:;.=-]*)*"
    r"\(?(?P<letter>[A-F])\)?[\s.:)-]*"
    r"(?:is (?:the )?(?:correct |right )?(?:answer|option|choice|correct)|(?P<text>.*?))"
    r"[\s.]*",
    re.IGNORECASE,
)


class AQuA(FileReasoning):
    r"""AQuA-RAT, from files or the Hub; nothing is generated.

    What a path may be:

    - a file as its authors publish it (``train.json``, ``dev.json``, ``test.json``: in spite of the name an object on
      each line), or the Hub's ``hub:deepmind/aqua_rat:raw``: question, options, rationale, correct;
    - a file of question, with its options, and whole answer, ``lines\n#### B``, as the released SoftCoT code reads it;
    - a file of question, with its options, steps and answer.

    The options are part of the question's text: behind it stands a line *Options:*, and a line *(A) 21* for each. The
    answer is the bare letter.

    Each line of the rationale is a step. Its last line is left out where it only states the answer (*Answer: B*, *The
    answer is B.*, *B) 20 km/h*), since the answer is written behind the steps anyway; a last line that says anything
    else, or another letter, stays. A rationale with no other line gives a problem without steps, which is kept.

    The answer is read as a letter (``choice``): from a box, behind the answer marker, or where the text calls it the
    answer.

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`. With ``tokenizer: words`` a number that
            is not in the training data is spelled in bytes.

    Raises:
        UserError: If an option is out of range.
    """

    task: ClassVar[str] = "choice"
    default_extractors: ClassVar[tuple[str, ...]] = ("choice",)
    softcot_official: ClassVar[str | None] = "softcot_official_choice"

    def read(self, path: str, split: str) -> Iterator[ReasoningExample]:
        """The problems of a path, none left out.

        Raises:
            DataError: If it cannot be read, or a record is faulty.
        """
        records = (record._replace(value=_with_steps(record)) for record in published_records(path, split))
        return parse_records(records, need_steps=False)


def _with_steps(record: Record) -> object:
    """A record of any form as one of question, steps and answer; what is no record is left to the parser."""
    value: Any = record.value
    if not isinstance(value, dict):
        return value
    if "rationale" in value or "correct" in value:
        options = lettered(value.get("options"), record.where)
        answer = check_letter(value.get("correct"), list(options), "correct", record.where)
        steps = _lines(text_field(value, "rationale", record.where, blank=True), answer, options)
        rest = {key: one for key, one in value.items() if key not in ("question", "options", "rationale", "correct")}
        question = with_options(text_field(value, "question", record.where), options)
        return {**rest, "question": question, "options": options, "steps": steps, "answer": answer}
    solution = split_solution(value, record.where)
    if solution is None and not ("steps" in value and "answer" in value):
        return value
    question = text_field(value, "question", record.where)
    options = options_of(question)
    if not options:
        raise DataError(
            'field "question" ends in no options',
            where=record.where,
            why="the letter of the answer would mean nothing",
            fix='end it in lines such as \'(A) 21\', or give a field "options" with "rationale" and "correct"',
        )
    answer = check_letter(solution[1] if solution else value["answer"], list(options), "answer", record.where)
    steps = _lines(solution[0], answer, options) if solution else value["steps"]
    return {**value, "options": options, "steps": steps, "answer": answer}


def _lines(rationale: str, answer: str, options: dict[str, str]) -> list[str]:
    """The lines of a rationale, without a last one that only states the answer."""
    lines = [" ".join(line.split()) for line in rationale.splitlines() if line.strip()]
    said = _STATES_ANSWER.fullmatch(lines[-1]) if lines else None
    if said is not None and said["letter"].upper() == answer:
        text = (said["text"] or "").strip(" .)").casefold()
        if text in ("", options.get(answer, "").strip(" .)").casefold()):
            return lines[:-1]
    return lines
