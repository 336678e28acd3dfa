"""StrategyQA (arXiv 2101.02235): questions whose reasoning steps have to be found, with facts that answer them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from lcot.datamodules.json_files import published_records
from lcot.datamodules.records import Record, parse_records
from lcot.datamodules.word_problems.chains import ChainSteps, check_chain, sentences_of, with_chain
from lcot.datamodules.word_problems.cut_files import CutReasoning
from lcot.datamodules.word_problems.solutions import text_field
from lcot.errors import DataError, UserError, shown
from lcot.reasoning.example import ReasoningExample

_ANSWERS = {"true": "Yes", "yes": "Yes", "false": "No", "no": "No"}


class StrategyQA(CutReasoning):
    """StrategyQA, from files or the Hub; nothing is generated.

    What a path may be:

    - a ``.json`` file as its authors publish it: question, answer (true or false), facts, and more;
    - a Hub data set with these fields, such as ``hub:ChilleD/StrategyQA``, where the facts are one text, whose
      sentences are taken for them;
    - a file of question, steps and answer;
    - a file or a Hub data set of question, cot and answer, such as StrategyQA-CoT (``hub:zen-E/StrategyQA_CoT_GPT4o``),
      whose chain was written by another model. It is split into steps (``chain``).

    Each fact is a step. The answer is *Yes* or *No*, as the released SoftCoT code writes it behind *Finished reasoning,
    the answer is:*; the published booleans, and *yes* and *no* in any case, become that. Term, description,
    decomposition and evidence are among an example's ``facts``.

    Of the published files only that of training has answers. ``path`` names it, or any other, to be cut in its own
    order as the SoftCoT paper does: the first 80 % are for training, and the rest is tested on (1,832 and 458 of 2,290
    records). The released code also validates on the records that it tests on, which lets a checkpoint be chosen by
    them; here the last tenth of the training records is held out for that.

    The answer is read as the conclusion of the text (``yes_no``).

    Args:
        train_path: What to train on; it also makes the words of ``tokenizer: words``.
        val_path: What to validate on.
        test_path: What to test on, and what ``predict`` answers.
        path: One file for all three, instead of these.
        train_fraction: Share of its records, from the first on, that are not tested on.
        val_fraction: Share of those, from the last on, that are validated on instead of trained on; 0 to validate on
            the test records, as the published runs did.
        chain: What is a step of a chain in the field ``cot``: its ``sentences``, its ``lines``, or the ``whole`` text.
        options: Those of :class:`~lcot.datamodules.base.ReasoningDataModule`.

    Raises:
        UserError: If an option is out of range, or ``path`` is given together with the path of a split.
    """

    task: ClassVar[str] = "yes_no"
    default_extractors: ClassVar[tuple[str, ...]] = ("yes_no",)
    softcot_official: ClassVar[str | None] = "softcot_official_yes_no"

    def __init__(
        self,
        train_path: str | None = None,
        val_path: str | None = None,
        test_path: str | None = None,
        path: str | None = None,
        train_fraction: float = 0.8,
        val_fraction: float = 0.1,
        chain: ChainSteps = "sentences",
        **options: Any,
    ) -> None:
        super().__init__(train_path, val_path, test_path, path, **options)
        for name, value, least in (("train_fraction", train_fraction, "above 0"), ("val_fraction", val_fraction, "0")):
            if not (0 < value < 1 or (value == 0 and least == "0")):
                raise UserError(f"{name} is {value}", where=f"data.{name}", fix=f"use a number from {least} to below 1")
        check_chain(chain)
        self.chain: ChainSteps = chain
        self.train_fraction = train_fraction
        self.val_fraction = val_fraction

    def read(self, path: str, split: str) -> Iterator[ReasoningExample]:
        """The questions of a path, none left out.

        Raises:
            DataError: If it cannot be read, or a record is faulty.
        """
        records = (record._replace(value=self._with_steps(record)) for record in published_records(path, split))
        return parse_records(records, need_steps=False)

    def cut(self, examples: list[ReasoningExample]) -> dict[str, list[ReasoningExample]]:
        """The file in its order: training, validation, test."""
        tested = int(len(examples) * self.train_fraction)
        held_out = tested - int(tested * self.val_fraction)
        test = examples[tested:]
        return {
            "train": examples[:held_out],
            "val": examples[held_out:tested] if self.val_fraction else test,
            "test": test,
        }

    def _with_steps(self, record: Record) -> object:
        """A record of any form as one of question, steps and answer; what is no record is left to the parser."""
        value: Any = record.value
        if not isinstance(value, dict):
            return value
        answer = value.get("answer")
        if isinstance(answer, bool | str) and not (isinstance(answer, str) and not answer.strip()):
            said = _ANSWERS.get(str(answer).strip().lower().rstrip("."))
            if said is None:
                raise DataError(
                    f'field "answer" is {shown(answer)}', where=record.where, fix="give true or false, or yes or no"
                )
            value = {**value, "answer": said}
        if "cot" in value and "steps" not in value:
            return with_chain(value, self.chain, record.where)
        if "steps" in value or "facts" not in value:
            return value
        rest = {key: one for key, one in value.items() if key not in ("facts", "question", "qid")}
        name = {"id": value["qid"]} if "qid" in value else {}
        return {**rest, **name, "question": text_field(value, "question", record.where), "steps": _facts(value, record)}


def _facts(value: dict[str, object], record: Record) -> list[str]:
    """The facts of a record, one string each, without white space at their ends."""
    facts = value["facts"]
    if isinstance(facts, str):
        return sentences_of(facts)
    if not isinstance(facts, list):
        raise DataError('field "facts" is no list', where=record.where, fix="give a list of strings, one a fact")
    for number, fact in enumerate(facts):
        if not isinstance(fact, str) or not fact.strip():
            raise DataError(
                f'field "facts"[{number}] is {"blank" if isinstance(fact, str) else "no string"}',
                where=record.where,
                fix="every fact is a string with some text",
            )
    return [" ".join(fact.split()) for fact in facts]
