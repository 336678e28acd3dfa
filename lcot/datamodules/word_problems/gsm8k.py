"""GSM8K (arXiv 2110.14168) and GSM8k-Aug (arXiv 2311.01460): word problems of grade-school arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from lcot.datamodules.doubts import say
from lcot.datamodules.files import FileReasoning, records_of
from lcot.datamodules.hub import PREFIX
from lcot.datamodules.records import Record, parse_records
from lcot.datamodules.text_files import check_file
from lcot.datamodules.word_problems.chains import at_periods
from lcot.datamodules.word_problems.number_sets import as_problem
from lcot.datamodules.word_problems.solutions import MARK, damaged_mark, marks_of, split_solution, text_field
from lcot.datamodules.word_problems.text_records import ENDS_STEPS, read_arithmetic_lines
from lcot.errors import DataError, UserError
from lcot.reasoning.example import ReasoningExample

Chain = Literal["equations", "natural", "sentences", "lines"]

_KINDS = f"give a .txt file (question||equations {ENDS_STEPS} answer), a .json or .jsonl file, or {PREFIX}NAME"
_NONE = "none"  # stands for an answer that is null, until the problem is dropped
_STEP = re.compile(rf"{MARK.pattern}|\S+")
# How many clips in May? ** Natalia sold 48/2 = <<48/2=24>>24 clips in May.
_ASKED = re.compile(r"(?<=[?.!:]) ?\*\* ?")


class GSM8K(FileReasoning):
    """GSM8K and GSM8k-Aug, from files or the Hub; nothing is generated.

    What a path may be:

    - a ``.txt`` file of GSM8k-Aug, as its authors publish it: ``question||<<16-3-4=9>> <<9*2=18>> #### 18``;
    - a ``.jsonl`` file of GSM8K, as its authors publish it, or the Hub's ``hub:openai/gsm8k:main``: question, and an
      answer of several lines with ``#### 18`` at their end; also the ``socratic`` form of both, whose lines begin with
      the question that they answer and ``**``;
    - a ``.json`` or ``.jsonl`` file, or the Hub's copy, of GSM8k-Aug whose chain stands in a field ``cot``, beside
      question and answer, with or without ``####`` before the latter (``hub:zen-E/GSM8k-Aug``, and with ``chain``
      ``sentences`` ``hub:zen-E/GSM8k-Aug-NL``, as CODI and SIM-CoT train on them);
    - a ``.json`` or ``.jsonl`` file of question, steps and answer, such as the released Coconut code makes, or a Hub
      data set of this schema, such as ``hub:whynlp/gsm8k-aug``;
    - what models of these are tested on beside: SVAMP (``hub:ChilleD/SVAMP::train+test`` are the 1,000 problems of the
      published figures), MultiArith (``hub:ChilleD/MultiArith``) and GSM-Hard
      (``hub:reasoning-machines/gsm-hard::train``), from the Hub or from the files of their authors. They have no chain.
      Whole numbers are written without a point (``18.0`` as ``18``); others have all digits that they were published
      with (``61.220000000000006``).

    Each equation, or each line, is a step. Some problems have no equation (6 of 500 in the validation file of
    GSM8k-Aug, 95 of 7,473 in GSM8K's training file). They are kept, and have no step: behind their question, and the
    thoughts of the stage, stands the answer. The released conversion makes them one blank step, a lone newline
    (``blank_step``).

    The answer is reported twice: as the string that the released Coconut code compares (``accuracy``) and as a number
    (``accuracy_number``). Published figures of CODI and its relatives are by ``codi_official_number``.

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers.
        chain: The steps of original GSM8K: its ``equations``, brackets included; ``natural`` language: the lines
            without the calculator's marks, and in the socratic form without the ``**`` behind a line's question;
            ``sentences``: these lines, cut behind each period, as the released CODI code does for GSM8k-Aug-NL; or the
            ``lines`` as they stand, as the released SoftCoT code takes them for Llama and Qwen2.5. The other formats
            bring steps of their own, equations in the text files.
        drop_unfit: Leave out training problems without an answer (``null``), or whose answer does not begin with a
            digit, as the released CODI code does: a sign is a token of its own for some tokenizers. How many is said.
        blank_step: Give a problem without any step one that is blank, as the published Coconut runs had it.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`. With ``tokenizer: words`` a number that
            is not in the training data is spelled in bytes.

    Raises:
        UserError: If an option is out of range.
    """

    task: ClassVar[str] = "math"
    default_extractors: ClassVar[tuple[str, ...]] = ("string", "number")
    softcot_official: ClassVar[str | None] = "softcot_official_number"
    chain_fix: ClassVar[str] = (
        "set data.chain to 'natural' for lines without marks ('sentences' where they stand in one line), to 'equations'"
        ' for marks (<<48/2=24>>), or give the chain as "steps", a list of strings'
    )

    def __init__(
        self,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        chain: Chain = "equations",
        blank_step: bool = False,
        drop_unfit: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(train_path, val_path, test_path, **options)
        if chain not in get_args(Chain):
            raise UserError.unknown("chain", str(chain), get_args(Chain), where="data.chain")
        self.chain: Chain = chain
        self.blank_step = blank_step
        self.drop_unfit = drop_unfit

    def read(self, path: str, split: str) -> Iterator[ReasoningExample]:
        """The problems of a path, none left out but those of ``drop_unfit``.

        Raises:
            DataError: If it cannot be read, or has steps of its own where ``chain`` asks for others.
        """
        unfit, dropping = 0, self.drop_unfit and split == "train"
        for example in self._read_any(path, split, dropping):
            if dropping and not example.answer.strip()[0].isdigit():
                unfit += 1
                continue
            yield replace(example, steps=("",)) if self.blank_step and not example.steps else example
        if unfit:
            what = "an answer that begins with a digit are left out (data.drop_unfit)"
            say("%s: %d problems without %s", path, unfit, what)

    def _read_any(self, path: str, split: str, dropping: bool) -> Iterable[ReasoningExample]:
        if not path.startswith(PREFIX):
            file = check_file(path, (".txt", ".json", ".jsonl"), _KINDS)
            if file.suffix == ".txt":
                return self._read_lines(file)
        records = _of_one_schema(records_of(path, split))
        steps = (record._replace(value=self._with_steps(record, dropping)) for record in records)
        return parse_records(steps, need_steps=False)

    def _read_lines(self, file: Path) -> Iterator[ReasoningExample]:
        self._refuse_chain(str(file))
        damaged: list[int] = []
        for index, (line, question, steps, answer) in enumerate(read_arithmetic_lines(file)):
            if damaged_mark(steps) is not None:
                damaged.append(line)
            yield ReasoningExample(question, tuple(_STEP.findall(steps)), answer, str(index))
        if damaged:
            say(
                "%s, line %d: a calculator mark is not opened or not closed, and is read as other steps%s",
                *(file, damaged[0], f"; so it is in {len(damaged)} lines" if len(damaged) > 1 else ""),
            )

    def _with_steps(self, record: Record, dropping: bool) -> object:
        """A record of any schema as one of question, steps and answer; what is no record is left to the parser."""
        value: Any = record.value
        if not isinstance(value, dict):
            return value
        if dropping and value.get("answer", "") is None:
            return {**value, "steps": [], "answer": _NONE}
        problem = as_problem(value, record.where)
        if problem is not None:
            return problem
        if "steps" in value:
            self._refuse_chain(record.where)
            # What the released conversion makes of an empty chain.
            return {**value, "steps": []} if value["steps"] == [""] else value
        if "cot" in value:
            said = text_field(value, "answer", record.where)
            solution = text_field(value, "cot", record.where, blank=True)
            value = {key: one for key, one in value.items() if key != "cot"}
            value["answer"] = f"{solution}\n{said if said.startswith(ENDS_STEPS) else f'{ENDS_STEPS} {said}'}"
        parts = split_solution(value, record.where)
        if parts is None:
            return value
        solution, answer = parts
        marks = marks_of(solution, record.where) if self.chain != "lines" else []
        if self.chain == "equations":
            return {**value, "steps": marks, "answer": answer}
        lines = solution.splitlines()
        if self.chain in ("natural", "sentences"):
            lines = [_ASKED.sub(" ", MARK.sub("", line), count=1) for line in lines]
        if self.chain == "sentences":
            lines = [part for line in lines for part in at_periods(line)]
        return {**value, "steps": [line.strip() for line in lines if line.strip()], "answer": answer}

    def _refuse_chain(self, where: str) -> None:
        if self.chain != "equations":
            raise DataError(
                f"chain is {self.chain!r}, and the data have steps of their own",
                where=f"data.chain, and {where}",
                why="natural language can be had from the original GSM8K files only, whose answers are whole solutions",
                fix="leave chain out, or give such a file",
            )


def _of_one_schema(records: Iterable[Record]) -> Iterator[Record]:
    """The records, of which all have the chain in a field of its own, or none.

    Raises:
        DataError: If one lacks it among others that have it: it would be read as a problem without a step.
    """
    lacking, seen = "", False
    for record in records:
        if isinstance(record.value, dict):
            if not lacking and "cot" not in record.value and "steps" not in record.value:
                lacking, fields = record.where, ", ".join(map(repr, record.value))
            seen |= "cot" in record.value
            if seen and lacking:
                raise DataError(
                    'field "cot" is missing',
                    where=lacking,
                    why=f"other records have it, and this one has {fields}",
                    fix="write the chain, or take the record out",
                )
        yield record
