"""The house: which room may look into which, that no arrow runs back up, and how large a file may be."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lcot
from tests.places import ROOT

PACKAGE = ROOT / "lcot"
FLOORS = (
    {"cli"},
    {"compare", "analysis", "callbacks"},
    {"api"},
    {"runs"},
    {"modules", "datamodules"},
    {"metrics"},
    {"reasoning", "pretrained"},
    {"errors", "settings", "signals", "signatures"},
)
"""From the top down; a room looks into those below it."""

BESIDE = {("callbacks", "analysis"), ("signals", "settings"), ("settings", "errors")}
"""Looks on one floor that are allowed: TensorBoard shows an analysis while training runs."""

TOP = {"__init__", "__main__", "api", "errors", "settings", "signals", "signatures"}
HEAVY = {"lightning", "datasets", "torchmetrics", "jsonargparse", "tensorboard", "peft", "matplotlib"}
FLOOR = {room: number for number, floor in enumerate(FLOORS) for room in floor}
FILES = sorted(PACKAGE.rglob("*.py"))
LIMIT = 400


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever it does; those for type checkers alone do not count."""
    for node in _run(ast.parse(file.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{file} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if _is_module(inner) else node.module


def _run(body: list[ast.stmt]) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _run(node.orelse)
        else:
            yield from ast.walk(node)


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "lcot" and len(parts) > 1 else None


def test_no_room_looks_back_up() -> None:
    wrong = []
    for file in FILES:
        here = room_of(module_of(file))
        if here in (None, "__main__"):
            continue  # the door, and the package itself, which imports its interface when it is asked for
        for name in imported(file):
            there = room_of(name)
            if there is None or there == here or (here, there) in BESIDE:
                continue
            if FLOOR[here] >= FLOOR[there]:
                wrong.append(f"{file.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_no_file_imports_itself_by_way_of_others() -> None:
    graph = {
        module_of(file): {name for name in imported(file) if name.startswith("lcot.") and name != module_of(file)}
        for file in FILES
        if file.name != "__init__.py"
    }
    list(TopologicalSorter(graph).static_order())  # a cycle is a CycleError that names it


def test_the_core_knows_no_trainer() -> None:
    wrong = [
        f"{file.relative_to(ROOT)} imports {name}"
        for file in (PACKAGE / "reasoning").rglob("*.py")
        for name in imported(file)
        if name.partition(".")[0] in HEAVY
    ]
    assert wrong == []


def test_the_packages_top_holds_what_all_rooms_use() -> None:
    assert {file.stem for file in PACKAGE.glob("*.py")} == TOP
    assert {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()} <= FLOOR.keys()


@pytest.mark.parametrize("folder", ["lcot", "tests", "benchmarks"])
def test_files_are_short(folder: str) -> None:
    long = {
        str(file.relative_to(ROOT)): count
        for file in (ROOT / folder).rglob("*.py")
        if (count := len(file.read_text(encoding="utf-8").splitlines())) > LIMIT
    }
    assert long == {}


def test_a_package_hides_none_of_its_modules() -> None:
    """``import lcot.reasoning.think as t`` gives the module: no package has another thing of that name."""
    hidden = []
    for info in pkgutil.walk_packages(lcot.__path__, "lcot."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        package, _, name = info.name.rpartition(".")
        if getattr(importlib.import_module(package), name) is not module:
            hidden.append(info.name)
    assert hidden == []
