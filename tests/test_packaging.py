"""What an install holds, and that it is found from anywhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.places import ROOT

pytest.importorskip("setuptools")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a build reads, in a folder that is called as the package is."""
    folder = tmp_path / "lcot"
    skipped = shutil.ignore_patterns("__pycache__")
    for name in ("lcot", "configs", "docs", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def built(clone: Path, what: str) -> Path:
    """What setuptools makes of it: ``wheel``, ``editable`` or ``sdist``."""
    code = f"import setuptools.build_meta as b; b.build_{what}({str(clone.parent / what)!r})"
    (clone.parent / what).mkdir()
    done = subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (made,) = (clone.parent / what).iterdir()
    return made


def test_an_editable_install_is_found_from_the_folder_above_the_clone(clone: Path) -> None:
    installed = clone.parent / "installed"
    with zipfile.ZipFile(built(clone, "editable")) as wheel:
        wheel.extractall(installed)
    code = f"import site; site.addsitedir({str(installed)!r}); import lcot; print(lcot.__file__, lcot.__version__)"
    for place in (clone.parent, clone, installed):
        done = subprocess.run([sys.executable, "-S", "-c", code], cwd=place, capture_output=True, text=True)
        assert done.stdout.split()[:1] == [str(clone / "lcot" / "__init__.py")], done.stderr


@pytest.fixture
def wheel(clone: Path, tmp_path: Path) -> Path:
    """What a wheel holds, unpacked; it was made of a source distribution."""
    with tarfile.open(built(clone, "sdist")) as source:
        source.extractall(tmp_path / "source", filter="data")
    (folder,) = (tmp_path / "source").glob("lcot-*")
    with zipfile.ZipFile(built(folder, "wheel")) as made:
        made.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def test_what_is_handed_on_is_the_package_its_data_and_its_configs(wheel: Path, tmp_path: Path) -> None:
    kept = {
        f"{'lcot/' if folder == 'configs' else ''}{path.relative_to(ROOT).as_posix()}"
        for folder in ("lcot", "configs")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    found = {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}
    assert {name for name in found if ".dist-info/" not in name} == kept
    (source,) = (tmp_path / "source").glob("lcot-*")
    folders = {path.name for path in source.iterdir() if path.is_dir() and path.name != "build"}
    assert folders == {"lcot", "lcot.egg-info", "configs", "docs"}


def test_its_page_shows_nothing_that_only_a_clone_has(wheel: Path) -> None:
    (file,) = wheel.glob("*.dist-info/METADATA")
    head, _, page = file.read_text(encoding="utf-8").partition("\n\n")
    assert "Author: The lcot authors" in head and "Keywords: " in head
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert links and all(link.startswith("https://arxiv.org/") for link in links)
    assert page.startswith("# lcot\n") and "docs/results.md" in page


def test_an_unpacked_wheel_trains_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """Without what only extras have; its configs are found by name, and no path of the clone is."""
    (tmp_path / "empty").mkdir()
    blocked = "import sys, lcot.cli.commands; from lcot.cli.main import main\n"  # torchmetrics imports what is there
    blocked += "sys.modules.update(dict.fromkeys(['datasets', 'matplotlib', 'peft', 'pyarrow']))"
    small = ["--data.train_size=8", "--data.val_size=4", "--trainer.fast_dev_run=2", "--trainer.accelerator=cpu"]
    lines = [["fit", "-c", "prosqa", "-c", "cot", *small], ["show", "-c", "prosqa"], ["configs"]]
    lines += [["fit", "-c", "paper/gsm8k_coconut", "--print_config"]]
    code = f"{blocked}\nfor line in {lines!r}: print('~~~', flush=True); main(line)"
    environment = {**os.environ, "PYTHONPATH": str(wheel)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "empty", env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    _, _, shown, listed, printed = done.stdout.split("~~~\n")
    assert "⟦" in shown and "Chain of thought: every step is written out." in listed
    assert "path: runs/gsm8k_cot" in printed
    assert str(ROOT) not in done.stdout + done.stderr and not list((tmp_path / "empty").iterdir())
