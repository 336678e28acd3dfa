"""Example files: what is read, in how much memory, and what each kind of broken file is told."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from lcot.datamodules import json_text
from lcot.datamodules.records import read_examples
from lcot.errors import DataError
from tests.places import SHARED

PUBLISHED = SHARED / "prosqa" / "prosqa_valid.json"
GOOD = {"question": "Is it?", "steps": ["It is."], "answer": "yes"}
LINE = json.dumps(GOOD)


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", f"[{LINE},\n {LINE}]"),
        ("a.json", json.dumps([GOOD, GOOD], indent=2) + "\n\n"),
        ("a.jsonl", f"{LINE}\n{LINE}\n"),
        ("a.jsonl", f"\n{LINE}\n  \n{LINE}"),
        ("a.jsonl", f"{LINE}\r\n{LINE}\r\n"),
        ("a.json", b"\xef\xbb\xbf" + f"[{LINE},{LINE}]".encode()),
    ],
)
def test_both_formats_and_the_default_ids(tmp_path: Path, name: str, content: str | bytes) -> None:
    examples = list(read_examples(write(tmp_path, name, content)))
    assert [example.id for example in examples] == ["0", "1"]
    assert {(example.question, example.steps, example.answer) for example in examples} == {
        ("Is it?", ("It is.",), "yes")
    }


def test_ids_and_facts_are_kept(tmp_path: Path) -> None:
    record = {**GOOD, "id": 17, "root": 3, "edges": [[0, 1]]}
    (example,) = read_examples(str(write(tmp_path, "a.json", json.dumps([record]))))
    assert example.id == "17"
    assert example.facts == {"root": 3, "edges": [[0, 1]]}


def test_steps_may_be_empty_where_that_is_allowed(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps({**GOOD, "steps": []}))
    assert next(read_examples(path, need_steps=False)).steps == ()
    with pytest.raises(DataError, match="empty list"):
        list(read_examples(path))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64])
def test_chunk_borders_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    facts = {"flag": True, "none": None, "number": -12.5e3, "text": 'é\n"\\ \u2028 漢 😀', "nest": [[1, {"a": []}], {}]}
    content = json.dumps([{**GOOD, "index": index, **facts} for index in range(5)], indent=1)
    examples = list(read_examples(write(tmp_path, "a.json", content)))
    assert [dict(example.facts) for example in examples] == [{"index": index, **facts} for index in range(5)]


@pytest.mark.parametrize("chunk", [1, 5, 1 << 16])
@pytest.mark.parametrize(
    ("name", "content", "where", "words"),
    [
        ("a.json", f'[{LINE},\n{{"question": "q" "steps": []}}]', "line 2, column 18", "Expecting ',' delimiter"),
        ("a.json", f"[{LINE}\n{LINE}]", "line 2, column 1", "Expecting ',' or ']'"),
        ("a.json", f"[{LINE},\n]", "line 2, column 1", "Expecting value"),
        ("a.json", f"[{LINE}]\n{LINE}", "line 2, column 1", "Extra text after the list"),
        ("a.json", f"[{LINE},\n{LINE[:20]}", "line 2, column 14", "the text ends too early"),
        ("a.json", f"[{LINE}", f"line 1, column {len(LINE) + 2}", "the text ends too early"),
        ("a.json", f"[{LINE}, nul", f"line 1, column {len(LINE) + 4}", "Expecting value"),
        ("a.json", '[{"question": "a\nb"}]', "line 1, column 17", "Invalid control character"),
        ("a.json", LINE, "line 1", "an object, not a list of objects"),
        ("a.json", "\n 12", "line 2", "no list"),
        ("a.json", " \n\n", "line 3", "nothing but white space"),
        ("a.json", f"[{LINE},\n\n 12]", "line 3, record 2", "a record is a number, not an object"),
        ("a.jsonl", f"{LINE}\n{LINE[:-1]}\n", f"line 2, column {len(LINE)}", "the text ends too early"),
        ("a.jsonl", f'{LINE}\n{{"question": q}}', "line 2, column 14", "Expecting value"),
        ("a.jsonl", f"[\n{LINE}\n]", "line 1, column 2", "one JSON value .json"),
        ("a.jsonl", f"[{LINE}]", "line 1", "a list, not an object"),
        ("a.jsonl", f"{LINE}\n[]", "line 2, record 2", "a record is a list, not an object"),
    ],
)
def test_broken_files_are_told_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, name: str, content: str, where: str, words: str
) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", chunk)
    path = write(tmp_path, name, content)
    with pytest.raises(DataError) as caught:
        list(read_examples(path))
    assert caught.value.where == f"{path}, {where}"
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_bottomless_nesting_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="nested too deeply"):
        list(read_examples(write(tmp_path, name, '[{"question": ' + "[" * 200_000)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": None}, 'field "question" is null'),
        ({"question": "  "}, 'field "question" is blank'),
        ({"answer": 3}, 'field "answer" is a number'),
        ({"answer": ""}, 'field "answer" is blank'),
        ({"steps": None}, 'field "steps" is null'),
        ({"steps": "It is."}, 'field "steps" is a string'),
        ({"steps": []}, 'field "steps" is an empty list'),
        ({"steps": ["a", ""]}, 'field "steps"[1] is blank'),
        ({"steps": [["a"]]}, 'field "steps"[0] is a list'),
        ({"id": 1.5}, 'field "id" is a number'),
        ({"id": True}, 'field "id" is a boolean'),
    ],
)
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_faulty_fields_are_told_with_their_record(
    tmp_path: Path, name: str, change: dict[str, object], words: str
) -> None:
    lines = [LINE, json.dumps({**GOOD, **change})]
    path = write(tmp_path, name, "\n".join(lines) if name == "a.jsonl" else "[" + ",\n".join(lines) + "]")
    examples = read_examples(path)
    assert next(examples).id == "0"  # what stands before the fault is read
    with pytest.raises(DataError) as caught:
        next(examples)
    assert caught.value.what == words
    assert caught.value.where == f"{path}, line 2, record 2"


@pytest.mark.parametrize("field", ["question", "steps", "answer"])
def test_missing_fields_are_told(tmp_path: Path, field: str) -> None:
    path = write(tmp_path, "a.jsonl", json.dumps({key: value for key, value in GOOD.items() if key != field}))
    with pytest.raises(DataError, match=f'field "{field}" is missing'):
        list(read_examples(path))


def test_repeated_ids_are_told_with_both_places(tmp_path: Path) -> None:
    named = [json.dumps({**GOOD, "id": name}) for name in ("x", "y", "x")]
    with pytest.raises(DataError, match="the id 'x' is used twice") as caught:
        list(read_examples(write(tmp_path, "a.jsonl", "\n".join(named))))
    assert "line 3, record 3" in str(caught.value)
    assert "line 1 has it too" in str(caught.value)
    # A record without id is called by its place, which another record may have taken.
    with pytest.raises(DataError, match="the id '1' is used twice"):
        list(read_examples(write(tmp_path, "b.jsonl", json.dumps({**GOOD, "id": 1}) + "\n" + LINE)))


def test_files_without_records_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file is empty"):
        read_examples(write(tmp_path, "a.json", ""))
    for name, content in (("b.json", "[ ]"), ("b.jsonl", "\n\n")):
        with pytest.raises(DataError, match="holds no record"):
            list(read_examples(write(tmp_path, name, content)))


def test_paths_that_are_no_example_files_are_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "prosqa_valid.json", "[]")
    with pytest.raises(DataError, match="no such file") as caught:
        read_examples(tmp_path / "prosqa_vaild.json")
    assert caught.value.fix == f"did you mean {str(tmp_path / 'prosqa_valid.json')!r}?"
    with pytest.raises(DataError, match="there is no folder"):
        read_examples(tmp_path / "nowhere" / "a.json")
    with pytest.raises(DataError, match=r"a folder was given.*\n.*\n.*prosqa_valid\.json"):
        read_examples(tmp_path)
    with pytest.raises(DataError, match=r"ending in '\.txt' cannot be read"):
        read_examples(write(tmp_path, "a.txt", LINE))


def test_other_encodings_are_told_with_the_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", f"{LINE}\n".encode() + '{"question": "é"}'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8") as caught:
        list(read_examples(path))
    assert caught.value.where == f"{path}, line 2, byte 15"


def test_no_more_than_a_chunk_is_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_text, "_CHUNK", 256)
    asked: list[int] = []
    whole = io.StringIO("[" + ",".join([LINE] * 500) + "]")

    class Watched(io.StringIO):
        def read(self, size: int | None = -1, /) -> str:
            asked.append(size or 0)
            return whole.read(size)

    path = write(tmp_path, "a.json", "[]")
    as_bytes = Path.open
    monkeypatch.setattr(Path, "open", lambda file, *mode, **text: as_bytes(file, *mode) if mode else Watched())
    assert len(list(read_examples(path))) == 500
    assert max(asked) == 256


def test_the_published_file_is_read_completely() -> None:
    if not PUBLISHED.is_file():
        pytest.skip("needs prosqa_valid.json of published ProsQA")
    examples = list(read_examples(PUBLISHED))
    assert [example.id for example in examples] == [str(index) for index in range(300)]
    assert {3, 4, 5, 6} == {len(example.steps) for example in examples}
    assert all(set(example.facts) == {"idx_to_symbol", "edges", "root", "target", "neg_target"} for example in examples)
