"""The pages a reader sees: nothing left to fill in, and every link leads somewhere."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

import lcot as package
from lcot.runs.configs import find
from tests.places import ROOT
from tests.tiny import lcot

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_finished_and_its_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"@[A-Z]+@|TODO|FIXME", text)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_pages_name_configs_that_exist() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"lcot \w+ (?:.* )?-c (\S+)", page.read_text(encoding="utf-8"))
        if not name.startswith("runs/") and "METHOD" not in name and name[-1] != ","
    }
    assert {"prosqa", "cot", "json_reasoning"} <= named
    assert [name for name in named if find(name) is None and not (ROOT / name).is_file()] == []


def test_the_readmes_own_data_and_method_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its code and its command are executed as they stand, for a few steps of a smaller model."""
    _, _, section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own data or method\n")
    code, command = re.findall(r"```(?:python|bash)\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my", raising=False)
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    Path("my.py").write_text(code, encoding="utf-8")
    for name, count in (("train", 8), ("val", 4)):
        lines = [f"{number} plus 2 plus 1\tadd 2\tadd 1\t{number + 3}\n" for number in range(1, count + 1)]
        Path(f"{name}.tsv").write_text("".join(lines), encoding="utf-8")
    program, *words = shlex.split(command.replace("\\\n", " "), comments=True)
    assert program == "lcot"
    size = [f"--model.backbone.config.{key}=8" for key in ("hidden_size", "intermediate_size", "head_dim")]
    stages = ["--curriculum.schedule.epochs_per_stage=1", "--curriculum.schedule.max_stage=2"]
    outcome = lcot(*words, *size, *stages, "--trainer.max_epochs=4", "--trainer.accelerator=cpu")
    assert outcome.code == 0, outcome.err
    for rest in (
        ("test", "-c", "runs/mine/config.yaml", "--data.test_path=val.tsv", "--code=my.py"),
        ("analyze", "runs/mine", "--data=val.tsv", "--code=my.py"),
    ):
        outcome = lcot(*rest)
        assert outcome.code == 0, outcome.err
    solver = package.load("runs/mine", code="my.py")
    assert type(solver.module.feed).__name__ == "Unit"
    told = yaml.safe_load(Path("runs/mine/config.yaml").read_text())["model"]["init_args"]["objectives"]
    assert told == {"apart": {"class_path": "my.Apart", "init_args": {"weight": 0.2}}}
    assert [solution.thoughts for solution in solver.solve(["1 plus 2 plus 1"])] == [2]
