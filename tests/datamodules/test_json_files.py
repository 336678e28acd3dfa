"""JSON in every form that it is published in, and where it stops being JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lcot.datamodules.json_files import published_records
from lcot.errors import DataError
from tests.datamodules.reading import write


def read(folder: Path, content: str, within: str | None = None, name: str = "records.json") -> list[tuple[Any, str]]:
    path = write(folder, name, content)
    return [(record.value, record.where.removeprefix(f"{path}, ")) for record in published_records(path, "x", within)]


@pytest.mark.parametrize("name", ["records.json", "records.jsonl"])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ('{"a": 1}\n\n{"a": 2}\n', [1, 3]),
        ('\ufeff{"a": 1}\n{"a": 2}', [1, 2]),
        ('[{"a": 1},\n {"a": 2}\n]\n', [1, 2]),
        ('\n[\n{"a": 1}\n,{"a": 2}]', [3, 4]),
    ],
)
def test_lists_and_lines_are_told_apart_by_their_first_sign(
    tmp_path: Path, name: str, content: str, lines: list[int]
) -> None:
    found = read(tmp_path, content, name=name)
    assert found == [({"a": number}, f"line {line}, record {number}") for number, line in enumerate(lines, start=1)]


def test_a_list_in_an_object(tmp_path: Path) -> None:
    content = '{"canary": ["x"],\n "of": {"list": [0]},\n "list": [\n  {"a": 1},\n  {"a": 2}],\n "more": [3]}'
    assert read(tmp_path, content, "list") == [({"a": 1}, "line 4, record 1"), ({"a": 2}, "line 5, record 2")]
    # Where it holds none of that name, it is a record.
    assert len(read(tmp_path, content, "lost")) == len(read(tmp_path, content)) == 1
    assert len(read(tmp_path, '{"list": 1}\n{"list": 2}', "list")) == 2
    assert len(read(tmp_path, "{}\n{}", "list")) == 2


@pytest.mark.parametrize(
    ("content", "within", "where"),
    [
        ('[{"a": 1} {"a": 2}]', None, "line 1, column 11"),
        ('[{"a": 1},\n', None, "line 2, column 1"),
        ('[{"a": 1}', None, "line 1, column 10"),
        ('[{"a": 1}]\nmore', None, "line 2, column 1"),
        ('{"a": 1}\n{"a": \n', None, "line 3, column 1"),
        ('{"a": 1},\n{"a": 2}', None, "line 1, column 9"),
        ('{"list": [{"a": 1}\n', "list", "line 2, column 1"),
        ('{"list" [1]}', "list", "line 1, column 9"),
        ("question,answer\n", None, "line 1, column 1"),
    ],
)
def test_what_is_no_json(tmp_path: Path, content: str, within: str | None, where: str) -> None:
    with pytest.raises(DataError, match="not valid JSON") as caught:
        read(tmp_path, content, within)
    assert caught.value.where is not None and caught.value.where.endswith(f"records.json, {where}")
    assert len(str(caught.value).splitlines()) <= 4


def test_files_that_hold_nothing(tmp_path: Path) -> None:
    for content in ("[]", " \n ", '{"list": []}'):
        with pytest.raises(DataError, match="the file holds no record"):
            read(tmp_path, content, "list")
    with pytest.raises(DataError, match="the file is empty"):
        read(tmp_path, "")
    (tmp_path / "latin.json").write_bytes(b'{"a": 1}\n{"a": "\xe9"}')
    with pytest.raises(DataError, match="not UTF-8 text") as caught:
        list(published_records(str(tmp_path / "latin.json"), "x"))
    assert caught.value.where is not None and caught.value.where.endswith("latin.json, line 2, byte 8")
    with pytest.raises(DataError, match="no such file"):
        published_records(str(tmp_path / "lost.json"), "x")
