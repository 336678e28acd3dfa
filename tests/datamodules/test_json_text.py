"""What JSON leaves undecided, or what breaks whatever comes after it, is refused with its place, by every reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from lcot.datamodules.json_files import published_records
from lcot.datamodules.json_text import DEEPEST
from lcot.datamodules.ontologies.records import read_problems
from lcot.datamodules.records import read_records
from lcot.errors import DataError

GOOD = {"question": "Is it?", "steps": ["It is."], "answer": "yes"}
LINE = json.dumps(GOOD)

FORMS: dict[str, tuple[str, str, Callable[[Path], Iterable[object]]]] = {
    "list": ("a.json", f"[{LINE},\n%s]", read_records),
    "lines": ("a.jsonl", f"{LINE}\n%s\n{LINE}\n", read_records),
    "published list": ("a.jsonl", f"[{LINE},\n%s]", lambda path: published_records(str(path), "x")),
    "published lines": ("a.json", f"{LINE}\n%s\n{LINE}\n", lambda path: published_records(str(path), "x")),
    "within": ("a.json", f'{{"of": [{LINE},\n%s]}}', lambda path: published_records(str(path), "x", "of")),
    "beside": ("a.json", f'{{"of": [{LINE}],\n"more": %s}}', lambda path: published_records(str(path), "x", "of")),
    "entries": ("a.json", '{"a":\n%s}', read_problems),
}


@pytest.mark.parametrize(
    ("record", "words"),
    [
        ('{"question": "q", "answer": "a", "answer": "b"}', "the key 'answer' stands twice in one object"),
        ('{"facts": {"root": 1, "root": 1}}', "the key 'root' stands twice in one object"),
        ('{"answer": NaN}', "NaN is no number"),
        ('{"answer": [-Infinity]}', "-Infinity is no number"),
        ('{"answer": 1e999}', "the number '1e999' is too large"),
        (f'{{"answer": {"9" * 4301}}}', "a number has more than 4,300 digits"),
        (r'{"answer": "a\ud800b"}', "half of a surrogate pair stands in"),
        (r'{"answer": [{"\udfff": 1}]}', "half of a surrogate pair stands in"),
        (r'{"answer": "\ude00\ud83d"}', "half of a surrogate pair stands in"),
        (r'{"answer": "a\u0000b"}', "a NUL character stands in"),
        ('{"answer": %s}' % ("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)), "nested too deeply"),
        ('{"answer": %s}' % ('{"a":' * 5000 + "1" + "}" * 5000), "nested too deeply"),
    ],
    ids=lambda value: value[:30],
)
@pytest.mark.parametrize("form", FORMS)
def test_what_json_leaves_undecided_is_refused(tmp_path: Path, form: str, record: str, words: str) -> None:
    name, content, read = FORMS[form]
    path = tmp_path / name
    path.write_text(content % record)
    with pytest.raises(DataError) as caught:
        list(read(path))
    assert words in caught.value.what
    assert caught.value.where is not None and caught.value.where.startswith(f"{path}, line 2")
    assert len(str(caught.value).splitlines()) == 4 - (caught.value.why is None) and len(str(caught.value)) < 900


def test_what_looks_like_it_is_read(tmp_path: Path) -> None:
    # A pair of surrogates is a character; numbers of 4,300 digits and nesting up to the limit are values.
    fine = {"a": "😀\u2028\u2029\x85\x1c", "b": int("9" * 4300), "c": 1e308, "d": "NaN", "e": [], "f": {}}
    fine["g"] = json.loads("[" * (DEEPEST - 1) + "]" * (DEEPEST - 1))
    for name, content in (("a.jsonl", json.dumps(fine)), ("a.json", json.dumps([fine], ensure_ascii=False))):
        (tmp_path / name).write_text(content, encoding="utf-8")
        assert [record.value for record in read_records(tmp_path / name)] == [fine]


def test_lines_end_where_the_files_lines_do(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps({"a": "\u2028"}, ensure_ascii=False).encode() + b"\r\n\r\n" + b'{"a": 2}\r'
    )
    assert [(record.value, record.place) for record in read_records(path)] == [
        ({"a": "\u2028"}, "line 1"),
        ({"a": 2}, "line 3"),
    ]


def test_a_list_that_stands_twice_in_an_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(f'{{"of": [{LINE}],\n"of": [{LINE}]}}')
    with pytest.raises(DataError, match="the name 'of' is used twice") as caught:
        list(published_records(str(path), "x", "of"))
    assert caught.value.where == f"{path}, line 2" and caught.value.why == "line 1 has it too"
    path.write_text(f'{{"of": [{LINE}]}}\n{LINE}')
    with pytest.raises(DataError, match="Extra text after the object"):
        list(published_records(str(path), "x", "of"))
