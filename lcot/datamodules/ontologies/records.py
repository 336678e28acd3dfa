"""Reading ProntoQA files: what the published generator writes, and what the released Coconut code makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lcot.datamodules.json_text import JsonText
from lcot.datamodules.ontologies.text import QUERY, paired, proof_fault, read_facts, sentences
from lcot.datamodules.records import Record, parse_records, read_records
from lcot.datamodules.text_files import check_file, opened
from lcot.errors import DataError, shown
from lcot.reasoning.example import ReasoningExample, parse_example

ANSWERS = ("True", "False")

_FORM = 'write {"example1": {"test_example": {"question": …, "query": …, "chain_of_thought": […], "answer": …}}, …}'


def read_problems(path: str | Path) -> Iterator[ReasoningExample]:
    """Read the problems of a file, one at a time.

    Two forms are read. A ``.json`` file with an *object* is what ``run_experiment.py --model-name json`` of
    asaparov/prontoqa writes: ``{"example1": {"test_example": {question, query, chain_of_thought, answer}}, …}``. The
    example's question is question and query, its steps are consecutive pairs of the chain's sentences, its id is the
    name of the entry; examples in the context of a prompt are passed over. A ``.json`` file with a *list*, or a
    ``.jsonl`` file, has records of question, steps and answer, as the released Coconut code preprocesses the former.

    Where all sentences of a problem are of the forms that fictional ontologies are published in, its proof is checked,
    and the example's ``facts`` hold what :func:`lcot.datamodules.ontologies.text.read_facts` reads; problems in other
    words are taken as they stand.

    Args:
        path: The file; ``~`` is the home folder.

    Returns:
        The examples in the file's order. The path is checked at once, the records when they are reached.

    Raises:
        DataError: If the file cannot be read, is neither of the forms or holds no record, a field is missing, blank or
            of the wrong type, an answer is neither True nor False, a proof does not prove its answer, or two entries
            have one name. The message names file, line, record and field.
    """
    file = check_file(path)
    if file.suffix == ".json" and _is_object(file):
        return _published(file)
    return _preprocessed(read_records(file))


def _published(file: Path) -> Iterator[ReasoningExample]:
    found = False
    for line, name, entry in _entries(file):
        found, where = True, f"{file}, line {line}, entry {shown(name)}"
        record = entry.get("test_example") if isinstance(entry, dict) else None
        if not isinstance(record, dict):
            raise DataError(
                f'the entry {shown(name)} has no object "test_example"',
                where=where,
                fix=f"{_FORM}; or a list of records of question, steps and answer",
            )
        yield _published_example(record, name, where)
    if not found:
        raise DataError("the file holds no record", where=str(file), fix="give a file with at least one example")


def _published_example(record: dict[str, object], name: str, where: str) -> ReasoningExample:
    chain = record.get("chain_of_thought")
    if not isinstance(chain, list) or not chain:
        found = "missing" if "chain_of_thought" not in record else "empty" if chain == [] else "not a list"
        raise DataError(f'field "chain_of_thought" is {found}', where=where, fix="give a list with a proof's sentences")
    for number, sentence in enumerate(chain):
        if not isinstance(sentence, str) or not sentence.strip():
            raise DataError(
                f'field "chain_of_thought"[{number}] is {"blank" if isinstance(sentence, str) else "not a string"}',
                where=where,
                fix="every sentence is a string with some text",
            )
    query = record.get("query")
    if not isinstance(query, str) or not query.startswith(QUERY) or not query[len(QUERY) :].strip():
        raise DataError(
            'field "query" is missing' if "query" not in record else f'field "query" is {shown(query)}',
            where=where,
            why="a problem asks whether a sentence is true, and so does not end in a proof alone (--proofs-only)",
            fix=f"write {QUERY + '…'!r}",
        )
    whole = parse_example({**record, "steps": chain}, where=where, default_id=name)
    example = ReasoningExample(f"{whole.question} {query}", paired(chain), whole.answer, name)
    return _checked(example, where, "chain_of_thought")


def _preprocessed(records: Iterator[Record]) -> Iterator[ReasoningExample]:
    where: list[str] = []

    def noted() -> Iterator[Record]:
        for record in records:
            where.append(record.where)
            yield record

    for example in parse_records(noted()):
        yield _checked(example, where[-1], "steps")


def _checked(example: ReasoningExample, where: str, field: str) -> ReasoningExample:
    """The example with what can be read from it, if its answer is one and its proof is without fault."""
    if example.answer not in ANSWERS:
        raise DataError(
            f'field "answer" is {shown(example.answer)}',
            where=where,
            fix='write "True" or "False", capitalized as here',
        )
    facts = read_facts(example.question, example.steps)
    if facts is None:
        return example
    proof = [sentence for step in example.steps for sentence in sentences(step)]
    fault = proof_fault(example.question, proof, example.answer == "True")
    if fault is not None:
        raise DataError(fault, where=f"{where}, field {field!r}", fix="correct or remove the record")
    return replace(example, facts={**example.facts, **facts})


def _is_object(file: Path) -> bool:
    """Whether a file's outermost value opens as an object."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            return JsonText(file, stream).peek() == "{"
    except OSError:
        return False  # said by the reader of lists


def _entries(file: Path) -> Iterator[tuple[int, str, object]]:
    """Line, name and value of each entry of a file's object; memory holds one at a time."""
    with opened(file) as stream:
        text = JsonText(file, stream)
        for line, name in text.entries():
            yield line, name, text.value()
        text.end("object")
