"""What a plain install lacks is named before any work is done, with the command that brings it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.tiny import contents, lcot, write_config

LORA = "--model.backbone={path: model, config: null, lora: {rank: 2}}"


@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("peft", "lora", ("fit", "-c", "tiny.yaml", LORA)),
        ("peft", "lora", ("fit", "-c", "softcot_prosqa", "-c", "softcot_lora")),
        ("datasets", "hub", ("fit", "-c", "gsm8k", "--data.train_path=hub:openai/gsm8k:main")),
        ("datasets", "hub", ("test", "-c", "tiny.yaml", "--data.test_path=hub:openai/gsm8k:main", "--ckpt_path=none")),
        ("matplotlib", "analysis", ("compare", "runs", "--plot", "table.png")),
        ("matplotlib", "analysis", ("compare", "runs", "--paths", "table.png")),
        ("matplotlib", "analysis", ("analyze", "runs/tiny")),
        ("pyarrow", "analysis", ("analyze", "runs/tiny")),
    ],
)
def test_it_is_one_block(
    package: str, extra: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path)
    before = contents(tmp_path)
    monkeypatch.setitem(sys.modules, package, None)
    refused = lcot(*words)
    assert refused.code == 2, refused.err
    assert f"needs {package}, not installed here" in refused.block
    assert f"do:    pip install 'lcot[{extra}]', or in a clone pip install -e '.[{extra}]'" in refused.block
    assert contents(tmp_path) == before


def test_a_run_goes_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path, {"dashboard": {}})
    for package in ("matplotlib", "peft", "pyarrow", "datasets"):
        monkeypatch.setitem(sys.modules, package, None)
    outcome = lcot("fit", "-c", "tiny.yaml")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("no search tree in TensorBoard, for matplotlib is not installed: pip install") == 1
    refused = lcot("fit", "-c", "tiny.yaml", "--name=asked", "--dashboard.tree_question=0")
    assert refused.code == 2 and "a search tree needs matplotlib" in refused.block
    assert not Path("runs/asked").exists()
