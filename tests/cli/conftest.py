"""What tests of several commands share."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.tiny import lcot

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

# Elements that load what an attribute names, and the attributes.
LOADING = {"src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "manifest", "formaction"}


@pytest.fixture(scope="session")
def run(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the finished run, analysed."""
    folder = Path(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "tiny"))
    outcome = lcot("analyze", folder, "--questions", 4)
    assert outcome.code == 0, outcome.err
    shutil.copyfile(folder / "analysis" / "report.html", folder / "report.html")  # one of the tests replaces it
    (folder / "said.json").write_text(json.dumps([outcome.out, outcome.err]), encoding="utf-8")
    return folder
