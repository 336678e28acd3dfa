"""ASDiv (arXiv 2106.15772) and ASDiv-Aug (arXiv 2502.12134): diverse word problems of grades 1 to 6."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any, ClassVar

from lcot.datamodules.hub import PREFIX
from lcot.datamodules.json_files import published_records
from lcot.datamodules.records import Record, parse_records
from lcot.datamodules.text_files import check_file
from lcot.datamodules.word_problems.asdiv_xml import FIELDS, read_xml
from lcot.datamodules.word_problems.cut_files import CutReasoning
from lcot.datamodules.word_problems.formulas import as_step, parts_of
from lcot.datamodules.word_problems.resampling import Resampler
from lcot.datamodules.word_problems.solutions import marks_of, split_solution, text_field
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.keyed import keyed_random, keyed_seed

_log = logging.getLogger("lcot")

_KINDS = f"give ASDiv.xml, a .json or .jsonl file, or {PREFIX}NAME"
# 9 (apples); the bracket of -(1/3) is no unit.
_ANSWER = re.compile(r"(?P<value>.*?)\s*(?:\((?P<unit>[^()]*[A-Za-z][^()]*)\))?")
_NEGATIVE_FRACTION = re.compile(r"-\((\d+/\d+)\)")
_ONE_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:/\d+)?")


class ASDiv(CutReasoning):
    r"""ASDiv and ASDiv-Aug, from files or the Hub.

    What a path may be:

    - ``ASDiv.xml``, as its authors publish it, or the Hub's ``hub:EleutherAI/asdiv:asdiv:validation``: body, question,
      solution type, answer, formula;
    - a file of ASDiv-Aug, or the Hub's ``hub:xuyige/ASDiv-Aug``: question, and an answer of equations with ``####18``
      at their end;
    - a ``.json`` or ``.jsonl`` file of question, steps and answer.

    Of the published problems the question is body and question in one. Their formula is the steps: an equation is
    written as in GSM8K, ``<<7+2=9>>``, without units; parts that are none (comparisons, series, ratios, what a variable
    means) are steps as they stand. The answer is without its unit: *9* of *9 (apples)*, *9; 11; 13* of three, and
    where it is no number, a name (*Mrs. Hilt*), a ratio (*5:6*), a time of day. Among an example's ``facts`` are
    formula, unit, solution type, body, and grade.

    The answer is reported as the string that the released Coconut code compares. Where all answers are numbers, as they
    are with ``numbers_only`` and in ASDiv-Aug, ``extractors: [string, number]`` reports it as a number too.

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers.
        path: One file for all three, instead of these: eight tenths of the problems to train on, one to validate and
            one to test on. A problem's body decides, its numbers aside, so no two problems about one body are in
            different splits; ASDiv is published without splits.
        numbers_only: Leave out problems whose answer is not one number (a name, several numbers, a ratio, a time of
            day); how many is said.
        augment: How many copies of each training problem, with other numbers, are trained on beside it (see
            :class:`~lcot.datamodules.word_problems.resampling.Resampler`; 5 in ASDiv-Aug). Problems that allow of none
            stand there once; how many is said.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`. With ``tokenizer: words`` a number that
            is not in the training data is spelled in bytes.

    Raises:
        UserError: If an option is out of range, or ``path`` is given together with the path of a split.
    """

    task: ClassVar[str] = "math"
    softcot_official: ClassVar[str | None] = "softcot_official_number"
    chain_fix: ClassVar[str] = 'write equations as <<7+2=9>> in the answers, or give the chain as "steps"'

    def __init__(
        self,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        path: str | None = None,
        numbers_only: bool = False,
        augment: int = 0,
        **options: Any,
    ) -> None:
        super().__init__(train_path, val_path, test_path, path, **options)
        if augment < 0:
            raise UserError(f"augment is {augment}", where="data.augment", fix="use 0 for none, or more")
        self.numbers_only = numbers_only
        self.augment = augment

    def read(self, path: str, split: str) -> Iterator[ReasoningExample]:
        """The problems of a path, none left out.

        Raises:
            DataError: If it cannot be read, or a record is faulty.
        """
        if not path.startswith(PREFIX):
            check_file(path, (".xml", ".json", ".jsonl"), _KINDS)
        records = read_xml(path) if path.endswith(".xml") else published_records(path, split)
        return parse_records((record._replace(value=_with_steps(record)) for record in records), need_steps=False)

    def cut(self, examples: list[ReasoningExample]) -> dict[str, list[ReasoningExample]]:
        """Eight in ten problems to train on, one to validate and one to test on; those of one body together."""
        parts: dict[str, list[ReasoningExample]] = {"train": [], "val": [], "test": []}
        for example in examples:
            parts[split_of(example)].append(example)
        return parts

    def _examples(self, split: str) -> list[ReasoningExample]:
        name = f"{split}, as used"
        if name not in self._read:
            examples = super()._examples(split)
            if self.numbers_only:
                examples = _numeric(examples, split)
            if split == "train" and self.augment:
                examples = self._augmented(examples)
            self._read[name] = examples
        return self._read[name]

    def _augmented(self, examples: list[ReasoningExample]) -> list[ReasoningExample]:
        """Each problem, and its copies behind it."""
        seed = self.keyed_by()
        made: list[ReasoningExample] = []
        alone = fewer = 0
        for example in examples:
            try:
                draw = keyed_random("other numbers", seed, example.id)
                copies = Resampler(example).copies(self.augment, draw)
            except ValueError:
                copies = []
            alone += not copies
            fewer += 0 < len(copies) < self.augment
            made += [example, *copies]
        if alone == len(examples):
            raise DataError(
                f"none of the {len(examples)} training problems allows of other numbers",
                where=f"data.augment, and {self.path or self.paths['train']}",
                why="a formula of + - * / is needed that takes numbers of the question and comes to the answer",
                fix="leave augment out, or give problems with formulas",
            )
        _log.info(
            "%d training problems were made %d with other numbers; %d stay alone, %d have fewer than %d copies",
            *(len(examples), len(made), alone, fewer, self.augment),
        )
        return made


def split_of(example: ReasoningExample) -> str:
    """The split of a problem where one file is cut: eight in ten to train, one to val, one to test.

    Problems whose bodies are the same but for numbers go together.
    """
    body = re.sub(r"\d[\d.,]*", "#", str(example.facts.get("body", example.question)))
    return ("val", "test", *["train"] * 8)[keyed_seed("asdiv split", " ".join(body.split()).casefold()) % 10]


def _numeric(examples: list[ReasoningExample], split: str) -> list[ReasoningExample]:
    numeric = [example for example in examples if _ONE_NUMBER.fullmatch(example.answer)]
    if not numeric:
        raise DataError(f"no answer of the {split} data is a number", where="data.numbers_only", fix="set it to false")
    if len(numeric) < len(examples):
        left_out = len(examples) - len(numeric)
        _log.info(
            "%d of %d %s problems have answers that are no number, and were left out", left_out, len(examples), split
        )
    return numeric


def _with_steps(record: Record) -> object:
    """A record of any form as one of question, steps and answer; what is no record is left to the parser."""
    value: Any = record.value
    if not isinstance(value, dict):
        return value
    if "formula" in value or "body" in value or "solution_type" in value:
        texts = {field: text_field(value, field, record.where) for field in FIELDS.values()}
        rest = {key: one for key, one in value.items() if key not in texts}
        answer, unit = _answer(texts["answer"])
        facts = {key: texts[key] for key in ("body", "formula", "solution_type")}
        question = f"{' '.join(texts['body'].split())} {' '.join(texts['question'].split())}"
        steps = [as_step(part) for part in parts_of(texts["formula"])]
        return {**rest, **facts, "unit": unit, "question": question, "steps": steps, "answer": answer}
    solution = split_solution(value, record.where)
    if solution is None:
        return value
    lines, answer = solution
    steps = marks_of(lines, record.where)
    formula = "; ".join(step[2:-2] for step in steps)
    return {"formula": formula, **value, "steps": steps, "answer": answer}


def _answer(written: str) -> tuple[str, str]:
    """An answer without its unit, and that."""
    values, units = [], []
    for one in written.split(";"):
        found = _ANSWER.fullmatch(one.strip())
        assert found is not None  # the pattern takes any line
        values.append(_NEGATIVE_FRACTION.sub(r"-\1", found["value"]))
        units.append(found["unit"] or "")
    return "; ".join(values), "; ".join(dict.fromkeys(units))
