"""What can go wrong with a file of records: each damage, and what of it can be decided without reading it."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fuzz.formats import Format

SPECIAL = ("<|endoftext|>", "<|pad|>", "<|latent|>", "<|start-latent|>", "<|end-latent|>", "<|pause|>", "</s>", "<s>")
LONG = "9" * 5000


@dataclass(frozen=True)
class Damage:
    """A damaged file.

    Attributes:
        what: The damage, in words short enough to find it again.
        content: The file.
        refused: Whether it has to be refused; otherwise what is read of it decides.
        shrinks: Whether records may be missing at its end, because nothing in it says that they were there.
    """

    what: str
    content: bytes
    refused: bool = False
    shrinks: bool = False


def of_bytes(form: Format, draw: random.Random, count: int) -> Iterator[Damage]:
    """Damage that knows nothing of records."""
    whole = form.written(form.records).encode()
    for number in range(count):
        at = draw.randrange(len(whole))
        kind = number % 8
        if kind in (0, 1):
            bit = 1 << draw.randrange(8)
            yield Damage(f"bit {bit} of byte {at}", whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        elif kind == 2:
            cut = whole[:at]
            yield Damage(f"cut at {at}", cut, form.closed and cut.rstrip() != whole.rstrip(), not form.closed)
        elif kind == 3:
            byte = draw.randrange(256)
            yield Damage(f"byte {byte} put in at {at}", whole[:at] + bytes([byte]) + whole[at:])
        elif kind == 4:
            yield Damage(f"byte {at} taken out", whole[:at] + whole[at + 1 :])
        elif kind == 5:
            size = draw.randrange(1, 40)
            yield Damage(f"{size} bytes twice at {at}", whole[: at + size] + whole[at:])
        elif kind == 6:
            newlines = [place for place, byte in enumerate(whole) if byte == 10]
            place = draw.choice(newlines)
            yield Damage(f"lines joined at {place}", whole[:place] + whole[place + 1 :])
        else:
            other = draw.randrange(len(whole))
            low, high = sorted((at, other))
            swapped = whole[:low] + whole[high : high + 1] + whole[low + 1 : high] + whole[low : low + 1]
            yield Damage(f"bytes {low} and {high} exchanged", swapped + whole[high + 1 :])


def of_files(form: Format) -> Iterator[Damage]:
    """Files that are none of ours, or are written otherwise."""
    text = form.written(form.records)
    whole = text.encode()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    yield Damage("a pointer of Git LFS", pointer, refused=True)
    yield Damage("gzip", gzip.compress(whole), refused=True)
    yield Damage("UTF-16", text.encode("utf-16"), refused=True)
    yield Damage("UTF-16 without its mark", text.encode("utf-16-le"), refused=True)
    yield Damage("a web page", b"<!DOCTYPE html><html><body>404</body></html>", refused=True)
    yield Damage("Latin-1", whole + "é".encode("latin-1"), refused=True)
    yield Damage("nothing", b"", refused=True)
    yield Damage("white space", b" \n \n", refused=True)
    yield Damage("garbage behind it", whole + b"\x01garbage", refused=True)
    yield Damage("NUL behind it", whole + b"\x00" * 40, refused=True)
    yield Damage("deep lists", b"[" * 100_000, refused=True)
    yield Damage("deep objects", b'{"a":' * 100_000, refused=True)
    yield Damage("deep elements", b"<a>" * 100_000, refused=True)
    yield Damage("a byte order mark", b"\xef\xbb\xbf" + whole)
    yield Damage("CRLF", whole.replace(b"\n", b"\r\n"))
    if not form.file.endswith(".xml"):
        yield Damage(
            "the file twice", whole + whole, refused="id" in _keys(form) or "qid" in _keys(form) or form.closed
        )


def of_records(form: Format, draw: random.Random) -> Iterator[Damage]:
    """Damage to one field of one record of JSON."""
    if not isinstance(form.records[0], dict) or form.file.endswith(".xml"):
        return
    for key in dict.fromkeys([*form.needed, *_keys(form)]):
        at = draw.randrange(len(form.records))
        if key in form.records[at]:
            yield from _of_field(form, draw, at, key)


def _of_field(form: Format, draw: random.Random, at: int, key: str) -> Iterator[Damage]:
    record, needed = form.records[at], key in form.needed
    old = record[key]

    def made(what: str, refused: bool, **changes: Any) -> Damage:
        fields = {name: value for name, value in {**record, **changes}.items() if value is not ...}
        records = [fields if place == at else one for place, one in enumerate(form.records)]
        return Damage(f"{key} of record {at}: {what}", _raw(form.written(records)), refused)

    yield made("gone", needed, **{key: ...})
    yield made("renamed", needed, **{key: ..., f"{key}x": old})
    yield made("twice", True, **{f"@@TWICE@@{key}": old})
    nothing: tuple[Any, ...] = (None, {}, {"a": 1})
    # A whole number may be an answer, and true; a list of texts steps. What is read of it decides.
    something: tuple[Any, ...] = ([], "", "  ", 3, 3.5, True, [3], [[]], ["", "a"], "x", LONG)
    for value in (*nothing, *something):
        yield made(f"is {str(value)[:20]!r}", needed and value in nothing, **{key: value})
    for sign in ("@@HUGE@@", "@@NAN@@", "@@INF@@", "@@E999@@", "@@DEEP@@"):
        yield made(sign, True, **{f"more{key}": sign})
    for text in ("\ud800", "\udfff x", "a\x00b"):
        yield made(f"with {text!r}", True, **{key: _put(old, text)})
    for text in (draw.choice(SPECIAL), "\u2028", "\x85\x1c", "\x1b[2J", "#### ", "||", "<<", ">>"):
        yield made(f"with {text!r}", False, **{key: _put(old, text)})
    other = draw.choice(sorted(record))
    yield made(f"for {other}", False, **{other: old, key: record[other]})


def of_meaning(form: Format) -> Iterator[Damage]:
    """Records that contradict themselves."""
    name = form.file.partition(".")[0]
    for at, record in enumerate(form.records):
        changes: list[tuple[str, Any]] = []
        if name in ("prontoqa", "prontoqa_listed"):
            chain = "steps" if "steps" in record else "chain_of_thought"
            changes = [
                ("the other answer", {"answer": "True" if record["answer"] == "False" else "False"}),
                ("without its end", {chain: record[chain][:-1]}),
                ("without its beginning", {chain: record[chain][1:]}),
                ("in another order", {chain: record[chain][::-1]}),
            ]
        elif name == "prosqa":
            names, answer = record["idx_to_symbol"], record["answer"]
            wrong = names[record["neg_target"]]
            changes = [
                ("the other answer", {"answer": answer.replace(names[record["target"]], wrong)}),
                ("the other target", {"target": record["neg_target"], "neg_target": record["target"]}),
                ("both reached", {"edges": [*record["edges"], [record["root"], record["neg_target"]]]}),
                ("a missing edge", {"edges": record["edges"][1:]}),
                ("without its end", {"steps": record["steps"][:-1]}),
                ("without its beginning", {"steps": record["steps"][1:]}),
                ("in another order", {"steps": record["steps"][::-1]}),
                ("another root", {"root": record["target"]}),
            ]
        elif name == "multiplication":
            line, _, answer = record.rpartition(" ")
            other = "1" if answer != "1" else "2"
            changes = [("another product", f"{line} {other}"), ("another factor", f"1 {record}")]
        for what, change in changes:
            records: list[Any] = [*form.records]
            records[at] = change if isinstance(change, str) else {**record, **change}
            yield Damage(f"record {at}: {what}", form.written(records).encode(), refused=True)
        if form.marks:
            for mark, hurt in (("<<", "<"), (">>", ">"), ("<<", ""), (">>", "")):
                records = [*form.records]
                kind = json.dumps(record).replace(mark, hurt, 1)
                records[at] = json.loads(kind)
                if records[at] != record:
                    yield Damage(f"record {at}: {mark} is {hurt!r}", form.written(records).encode())


def _keys(form: Format) -> list[str]:
    return sorted(form.records[0]) if isinstance(form.records[0], dict) else []


def _put(value: Any, text: str) -> Any:
    """A value with a text put into the first text that it holds."""
    if isinstance(value, list) and value:
        return [_put(value[0], text), *value[1:]]
    return f"{value[:3]}{text}{value[3:]}" if isinstance(value, str) else text


def _raw(text: str) -> bytes:
    """Signs in the place of what no writer of JSON would write."""
    for sign, value in (
        ("HUGE", LONG), ("NAN", "NaN"), ("INF", "-Infinity"), ("E999", "1e999"), ("DEEP", "[" * 2000 + "]" * 2000),
    ):  # fmt: skip
        text = text.replace(f'"@@{sign}@@"', value)
    return text.replace('"@@TWICE@@', '"').encode()
