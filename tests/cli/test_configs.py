"""``lcot configs``: a list, one of them, a copy."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from lcot.cli.configs import listed
from lcot.runs.configs import carried, names
from tests.places import ROOT
from tests.tiny import contents, lcot, write_config


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("width", [80, 120])
def test_all_of_them_with_a_line_each(width: int) -> None:
    lines = list(listed(width))
    entries = [line.split()[0] for line in lines if line.startswith("  ")]
    assert entries == [name.rpartition("/")[2] for name in names()]
    assert max(map(len, lines)) <= width
    titles = [line for line in lines if line and not line.startswith("  ")]
    assert titles[1].startswith("any chat model, laid over") and titles[2].startswith("methods, laid over")


def test_the_list_is_printed_and_nothing_is_written(tmp_path: Path) -> None:
    outcome = lcot("configs")
    assert outcome.code == 0 and outcome.out == "\n".join(listed()) + "\n"
    assert contents(tmp_path) == {}


def test_what_is_in_one() -> None:
    assert lcot("configs", "cot").out == (carried() / "methods" / "cot.yaml").read_text(encoding="utf-8")


def test_a_copy_replaces_nothing() -> None:
    outcome = lcot("configs", "cot", "--copy")
    assert outcome.out == "cot.yaml is yours to edit: lcot fit -c cot.yaml\n"
    Path("cot.yaml").write_text("mine", encoding="utf-8")
    refused = lcot("configs", "cot", "--copy")
    assert refused.code == 2 and "there is a file 'cot.yaml' already" in refused.block
    assert Path("cot.yaml").read_text(encoding="utf-8") == "mine"
    Path("folder").mkdir()
    assert lcot("configs", "paper/gsm8k_cot", "--copy", "folder").code == 0
    assert lcot("configs", "prosqa", "--copy=folder/other.yaml").code == 0
    assert {path.name for path in Path("folder").iterdir()} == {"gsm8k_cot.yaml", "other.yaml"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("prosqua",), "did you mean -c prosqa?"),
        (("--copy",), "--copy without a config"),
        (("cot", "--copy", "nowhere/cot.yaml"), "'nowhere/cot.yaml' cannot be written"),
        (("cot", "--copy", "mine"), "give mine.yaml"),
        (("cot", "pause"), "unrecognized arguments: pause"),
    ],
)
def test_what_cannot_be(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    refused = lcot("configs", *words)
    assert refused.code == 2 and said in refused.block
    assert contents(tmp_path) == {}


def test_names_work_wherever_configs_are_given(tmp_path: Path) -> None:
    """The command is kept as it was typed: it is right on another machine too."""
    tiny = write_config(tmp_path)
    quick = ("--trainer.max_epochs=1", "--data.train_size=6", "--model.lr_scheduler=null")
    outcome = lcot("fit", "-c", "prosqa", "-c", tiny, "-c", "cot", "--name=here", *quick)
    assert outcome.code == 0, outcome.err
    assert lcot("test", "-c", "runs/here/config.yaml").code == 0
    kept = yaml.safe_load(Path("runs/here/config.yaml").read_text(encoding="utf-8"))
    assert kept["curriculum"]["schedule"]["class_path"].endswith("Fixed") and kept["data"]["init_args"]["symbols"] == 12
    said = Path("runs/here/fit.json").read_text(encoding="utf-8")
    assert "lcot fit -c prosqa -c " in said and "-c cot --name=here" in said and str(ROOT) not in said
    assert "⟦" in lcot("show", "-c", "prosqa", "-c", "cot").out
    printed = lcot("fit", "-c", "prosqa", "-c", "cot", "--print_config")
    assert printed.code == 0 and yaml.safe_load(printed.out)["curriculum"] == kept["curriculum"]


def test_the_name_of_a_run_is_that_of_its_configs() -> None:
    refused = lcot("test", "-c", "prosqa", "-c", "cot")
    assert refused.code == 2 and "runs/prosqa-cot" in refused.block


def test_compare_finds_methods_by_name() -> None:
    outcome = lcot("compare", "-c", "prosqa", "--methods", "coconut", "cot", "--slurm", "jobs.sh")
    assert outcome.code == 0, outcome.err
    script = Path("jobs.sh").read_text(encoding="utf-8")
    assert "fit -c prosqa -c methods/coconut --seed_everything=0 --name=coconut-0" in script
    assert str(ROOT / "configs") not in script
    refused = lcot("compare", "-c", "prosqua", "--methods", "cot")
    assert refused.code == 2 and "did you mean -c prosqa?" in refused.block
    refused = lcot("compare", "-c", "prosqa", "--methods", "cott")
    assert refused.code == 2 and "did you mean 'cot'?" in refused.block
