"""Files of a run's folder, damaged in many ways: each is read as it is, or refused in one block."""

from __future__ import annotations

import csv
import io
import json
import math
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from lcot.compare.render import to_csv, to_markdown
from lcot.compare.table import compare
from lcot.runs.folder import RunFolder
from lcot.runs.run import read_results
from tests.campaign import BAD, Campaign
from tests.compare.folders import write_run

FILES = ("config.yaml", "fit.json", "test.json")
STRANGE: tuple[Any, ...] = (
    None,
    "",
    "x",
    0,
    -1,
    2.5,
    10**30,
    True,
    [],
    [1],
    {},
    {"a": {}},
    "9" * 500,
    "\u2028",
    "2026-13-45",
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


def changed(values: Any, draw: random.Random) -> tuple[str, Any]:
    """The same values with one of them gone or replaced."""
    made = json.loads(json.dumps(values))
    *above, last = draw.choice([path for path in places(made) if path])
    group = made
    for key in above:
        group = group[key]
    where = ".".join(map(str, (*above, last)))
    if draw.random() < 0.3:
        del group[last]
        return f"{where} gone", made
    group[last] = draw.choice(STRANGE)
    return f"{where} = {group[last]!r:.40}", made


def broken(text: bytes, draw: random.Random) -> tuple[str, bytes]:
    """The same bytes cut, flipped, repeated, or with others among them."""
    place = draw.randrange(len(text))
    kind = draw.choice(["cut", "flip", "twice", "insert", "lost"])
    if kind == "cut":
        return f"cut at {place}", text[:place]
    if kind == "flip":
        bit = draw.randrange(8)
        return f"bit {bit} of byte {place}", text[:place] + bytes([text[place] ^ (1 << bit)]) + text[place + 1 :]
    if kind == "twice":
        return f"twice from {place}", text + text[place:]
    if kind == "lost":
        return f"30 bytes lost at {place}", text[:place] + text[place + 30 :]
    what = draw.choice(
        [b"\x00", b"\xff\xfe", b"{", b"]", b": ", b"\n\t", b"&a *a ", b"- ", b"NaN", b"!!python/name:x "]
    )
    return f"{what!r} at {place}", text[:place] + what + text[place:]


def look(path: Path, said: list[dict[str, str]]) -> None:
    """All that compare says of a run, and what test and predict ask of its folder."""
    runs = [run for split in ("test", "val") for run in read_results(path, split)]
    for run in runs:
        comparison = compare([run], "test")
        to_markdown(comparison)
        said.extend(csv.DictReader(io.StringIO(to_csv(comparison), newline="")))
    folder = RunFolder(path)
    settings = yaml.safe_load((path.parent / "whole" / "config.yaml").read_text(encoding="utf-8"))
    folder.result("test", settings, "test")
    folder.start_from(True, settings)


class Once(yaml.SafeLoader):
    """Reads YAML in which no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(map(str, keys))), f"a key stands twice: {keys}"
        made: dict[Any, Any] = super().construct_mapping(node, deep)
        return made


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of a JSON text in which no key stands twice."""
    assert len(pairs) == len(dict(pairs)), f"a key stands twice: {[key for key, _ in pairs]}"
    return dict(pairs)


def strict(text: str) -> dict[str, Any]:
    """A JSON text, read by the standard alone: no key twice, and no number that JSON has not."""

    def no(name: str) -> None:
        raise AssertionError(f"{name} is no number")

    found: dict[str, Any] = json.loads(text, object_pairs_hook=once, parse_constant=no)
    return found


FIT = (
    *("wall_seconds", "cpu_seconds", "parameters", "trainable_parameters", "optimizer_steps", "finished"),
    *(("training_examples", "examples"), ("training_device", "device")),
)
RATES = {"accuracy_mean": (0, 1), "tokens_mean": (0, 1e300), "thoughts_mean": (0, 1e300), "examples": (0, 2**63)}


def is_said(shown: str, value: Any) -> bool:
    """Whether a cell of a table is what a file says; an empty one says nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return shown.startswith(str(value))
    return math.isclose(float(shown), value, rel_tol=1e-6)


def is_right(path: Path, said: list[dict[str, str]]) -> bool:
    """Whether what was said of a damaged run stands in its files, as the standards of their formats read them.

    That a number is another one nobody can see; that it cannot be one, or stands there twice, everybody can.
    """
    try:
        for row in said:
            config = yaml.load((path / "config.yaml").read_text(encoding="utf-8"), Once)  # a safe one
            result = strict((path / "test.json").read_text(encoding="utf-8"))
            assert row["seeds"] == str(config["seed_everything"])
            assert row["batch_size"] in ("", str(result.get("batch_size")))
            for name, (least, most) in RATES.items():
                own = result["split"]["examples"] if name == "examples" else None
                own = result["metrics"].get(f"test/{name.removesuffix('_mean')}") if own is None else own
                assert not row[name] or (is_said(row[name], own) and least <= own <= most), (name, row[name], own)
            fit = path / "fit.json"
            costs = strict(fit.read_text(encoding="utf-8")) if fit.is_file() else {}
            for names in FIT:
                shown, key = names if isinstance(names, tuple) else (names, names)
                assert not row[shown] or is_said(row[shown], costs[key]), (shown, row[shown], costs.get(key))
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError, yaml.YAMLError) as err:
        print(f"{path.name}: {type(err).__name__}: {err!s:.300}")
        return False
    return True


def campaign(folder: Path, count: int) -> Campaign:
    """Damage files of a run, one at a time."""
    marks = {"asked": "f" * 250, "right": ["f" * 225 + "0" * 25]}
    whole = write_run(folder, "whole", report={"by_question": marks})
    tally, draw = Campaign("files of a run's folder", seconds=20), random.Random(0)
    for number in range(count):
        name = FILES[number % len(FILES)]
        path = Path(shutil.copytree(whole, folder / "damaged"))
        file = path / name
        text = file.read_text(encoding="utf-8")
        if number % 2:
            what, values = changed(yaml.safe_load(text), draw)
            file.write_text(json.dumps(values) if name.endswith("json") else yaml.safe_dump(values), encoding="utf-8")
        else:
            what, data = broken(text.encode(), draw)
            file.write_bytes(data)
        said: list[dict[str, str]] = []
        tally.call(f"{name}: {what}", partial(look, path, said), partial(is_right, path, said))
        shutil.rmtree(path)
    return tally


@pytest.mark.parametrize("count", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused(tmp_path: Path, count: int) -> None:
    tally = campaign(tmp_path, count)
    print(tally.report)
    assert not any(tally.fates[fate] for fate in BAD), tally.report
    assert tally.fates["refused"] > count // 5
