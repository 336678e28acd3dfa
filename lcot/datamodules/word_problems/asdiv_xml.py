"""Reading ASDiv's XML file, with the place of every fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from lcot.datamodules.records import Record
from lcot.datamodules.text_files import check_file
from lcot.errors import DataError

FIELDS = {
    "Body": "body",
    "Question": "question",
    "Solution-Type": "solution_type",
    "Answer": "answer",
    "Formula": "formula",
}
"""The elements of a problem, and what the Hub's copy calls them."""

_ATTRIBUTES = {"ID": "id", "Grade": "grade", "Source": "source", "Class": "class"}


def read_xml(path: str | Path) -> Iterator[Record]:
    """Read the problems of ``ASDiv.xml``, whose elements are ``<Problem ID=…><Body>…</Body>…</Problem>``.

    Args:
        path: The file; ``~`` is the home folder.

    Returns:
        Records whose values are the texts of :data:`FIELDS` and the attributes of the problem (id, grade, source),
        under their Hub names; a field that the problem lacks is not among them.

    Raises:
        DataError: If there is no such file, it is empty, not valid XML or holds no problem, or a problem has an element
            twice. The message names file, line and problem.
    """
    file = check_file(path)
    reader = _Reader(file)
    try:
        with file.open("rb") as stream:
            reader.parser.ParseFile(stream)
    except expat.ExpatError as error:
        raise DataError(
            "the file is not valid XML",
            where=f"{file}, line {error.lineno}, column {error.offset + 1}",
            why=expat.ErrorString(error.code),
            fix="was it written or downloaded completely?",
        ) from error
    except LookupError as error:  # names an encoding that there is not
        raise DataError(
            "the file is not valid XML", where=f"{file}, line 1", why=str(error), fix='write encoding="UTF-8"'
        ) from error
    except OSError as error:
        raise DataError("the file cannot be read", where=str(file), why=error.strerror) from error
    if not reader.records:
        raise DataError(
            "the file holds no problem", where=str(file), fix="give a file with elements <Problem>, such as ASDiv.xml"
        )
    return iter(reader.records)


class _Reader:
    """Collects problems while a parser reads."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.records: list[Record] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.StartDoctypeDeclHandler = self._refuse_entities
        self._problem: dict[str, str] | None = None
        self._field: str | None = None
        self._element = ""
        self._where = ("", "")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        inside = self._element if self._field is not None else "Problem" if self._problem is not None else ""
        if name == "Problem" and inside:
            self._refuse(f"an element <Problem> stands within <{inside}>", "close what is open before it")
        if name in FIELDS and inside != "Problem":
            self._refuse(f"element <{name}> stands within <{inside}>" if inside else f"element <{name}> stands alone")
        if self._field is not None:
            return  # markup within a text: its words are those of the text
        if name == "Problem":
            line, number = self.parser.CurrentLineNumber, len(self.records) + 1
            self._problem = {_ATTRIBUTES[key]: text for key, text in attributes.items() if key in _ATTRIBUTES}
            self._where = (f"{self.file}, line {line}, problem {number}", f"line {line}")
        elif name in FIELDS and self._problem is not None:
            self._element, self._field = name, FIELDS[name]
            if self._field in self._problem:
                self._refuse(f"element <{name}> stands twice", "leave one")
            self._problem[self._field] = ""

    def _text(self, text: str) -> None:
        if self._problem is not None and self._field is not None:
            self._problem[self._field] += text

    def _end(self, name: str) -> None:
        if self._field is not None:
            if name == self._element:
                self._field = None
        elif name == "Problem" and self._problem is not None:
            self.records.append(Record(self._problem, *self._where))
            self._problem = None

    def _refuse(self, what: str, fix: str = "put it into an element <Problem>") -> NoReturn:
        where = self._where[0] if self._problem is not None else f"{self.file}, line {self.parser.CurrentLineNumber}"
        raise DataError(what, where=where, fix=fix)

    def _refuse_entities(self, *declared: object) -> None:
        raise DataError(
            "the file declares a document type",
            where=f"{self.file}, line {self.parser.CurrentLineNumber}",
            why="what it defines could grow without bound, and ASDiv's file has none",
            fix="remove the declaration",
        )
