"""What an install holds, and that it is found from anywhere."""

from __future__ import annotations

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
    for name in ("lcot", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
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


def test_what_is_handed_on_is_the_package_and_its_data(clone: Path) -> None:
    kept = {
        f"lcot/{path.relative_to(ROOT / 'lcot').as_posix()}"
        for path in (ROOT / "lcot").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(built(clone, "wheel")) as wheel:
        assert {name for name in wheel.namelist() if ".dist-info/" not in name} == kept
    with tarfile.open(built(clone, "sdist")) as source:
        names = {name.partition("/")[2] for name in source.getnames() if not name.endswith("egg-info")}
    assert kept <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]
