"""docs/ablations.md: each option is taken, leaves out what the page says, and the rest trains."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.places import ROOT
from tests.tiny import lcot, write_config

_ROW = re.compile(r"\| `(?P<method>\w+)` \| (?P<without>[^|]+) \| `(?P<options>[^`]+)` \|")
ROWS = [found.groups() for found in _ROW.finditer((ROOT / "docs" / "ablations.md").read_text(encoding="utf-8"))]
LONG = ("codi", "pccot", "kava", "simcot_codi")
"""Their numbers of thoughts would take most of a tiny context."""


def value_of(settings: Any, path: str) -> Any:
    """What stands in a config at a dotted path, through ``init_args``."""
    for name in path.split("."):
        if isinstance(settings, dict) and name not in settings:
            settings = settings.get("init_args") or {}
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablations")
    write_config(folder, {"model.init_args.backbone.config.max_position_embeddings": 256})
    return folder / "tiny.yaml"


def test_every_method_has_its_rows() -> None:
    assert {method for method, _, _ in ROWS} == {
        "codi",
        "pccot",
        "kava",
        "lotus",
        "simcot",
        "simcot_codi",
        "cmtp",
        "colar",
    }
    assert len(ROWS) >= 25 and all((ROOT / "configs" / "methods" / f"{method}.yaml").is_file() for method, _, _ in ROWS)


@pytest.mark.parametrize(("method", "without", "options"), ROWS, ids=lambda value: value if " " not in value else "-")
def test_it_trains(
    method: str, without: str, options: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base: list[object] = ["-c", tiny, "-c", ROOT / "configs" / "methods" / f"{method}.yaml"]
    base += ["--curriculum.schedule.thoughts=4"] if method in LONG and "thoughts=" not in options else []
    before, after = (
        yaml.safe_load(lcot("fit", *base, *more, "--print_config").out) for more in ([], shlex.split(options))
    )
    assert before != after or "last_step" in options  # the published run drops it, and the method's config does not
    for word in shlex.split(options):
        path, _, value = word.removeprefix("--").partition("=")
        found, wanted = value_of(after, path), yaml.safe_load(value)
        if isinstance(wanted, str) and isinstance(found, dict):
            found = found["class_path"].rpartition(".")[2]
        assert found == wanted or isinstance(wanted, dict), path
    outcome = lcot("fit", *base, *shlex.split(options), "--trainer.fast_dev_run=true")
    assert outcome.code == 0, outcome.err
