"""What cannot be imported is one block, and no run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lcot.modules.objectives.base import Objective, Scene
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.parallel import Jacobi
from lcot.runs.folder import RunFolder
from tests.places import ROOT
from tests.released import CODI, base_folder, original, projected, projection, saved, under
from tests.tiny import contents, lcot, write_config


class Weighed(Objective):
    """Trains a number."""

    def build(self, model: Any, special: Any) -> None:
        self.number = torch.nn.Parameter(torch.zeros(1))

    def count(self, batch: ThoughtBatch) -> torch.Tensor:
        return torch.tensor([len(batch)])

    def forward(self, scene: Scene) -> torch.Tensor:
        return self.number


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_folder(tmp_path_factory.mktemp("refused") / "base", "gpt2")


@pytest.mark.parametrize(
    ("method", "change", "words", "said"),
    [
        ("pccot", None, [], "a released checkpoint of another method"),
        ("coconut", None, [], "with a projection, and the config has thinker none and feed none"),
        ("codi", {"codi.transformer.wpe.weight": None}, [], "1 tensors are missing"),
        ("codi", {"codi.transformer.h.7.ln_1.weight": (16,)}, [], "transformer.h.7.ln_1.weight: the model of"),
        ("codi", {"gate.weight": (2,)}, [], "gate.weight: nothing here has a place for them"),
        ("codi", {"codi.transformer.wpe.weight": (200, 12)}, [], "wpe.weight: [200, 12] in the file, [200, 16] by"),
        ("codi", {"codi.transformer.wte.weight": (7, 16)}, [], "the released vocabulary has 7 rows"),
        ("codi", {"codi.transformer.wte.weight": (400, 12)}, [], "wte.weight: [400, 12] in the file"),
        ("codi", {"prj.ln.weight": None}, [], "missing: layers.4.weight"),
        ("codi", {"prj.1.weight": (24, 16), "prj.1.bias": (24,), "prj.3.weight": (16, 24)}, [], "width=24"),
        ("codi", {"latent_policy.fc.weight": (2, 2)}, [], "a released checkpoint of CoLaR"),
        ("codi", {"mtp_projection.0.weight": (2, 2)}, [], "mtp_projection.0.weight: nothing here"),
        ("codi", {"pj_in.weight": (2, 2)}, [], "the step decoder is of another width"),
        ("codi", {"codi.transformer.h.0.attn.c_attn.lora_A.default.weight": (4, 16)}, [], "lora_B.default.weight"),
        (
            "codi",
            {
                "codi.transformer.h.0.attn.c_attn.lora_A.default.weight": (4, 16),
                "codi.transformer.h.0.attn.c_attn.lora_B.default.weight": (48, 4),
            },
            [],
            "LoRA of rank 4, and no alpha",
        ),
        (
            "codi",
            None,
            ["--model.objectives={ia: {class_path: tests.cli.test_importing_refusals.Weighed}}"],
            "the objective 'ia' trains weights of its own",
        ),
        ("simcot_codi", None, [], "the config has a step decoder, and the released weights have none"),
        ("codi", None, ["--data.tokenizer=words"], "data.tokenizer is 'words'"),
        ("codi", None, ["--lora_alpha=no"], "--lora_alpha is 'no'"),
    ],
)
def test_what_does_not_fit(
    folder: Path,
    tmp_path: Path,
    method: str,
    change: dict[str, tuple[int, ...] | None] | None,
    words: list[str],
    said: str,
) -> None:
    made = original(folder, "gpt2", CODI, 3)
    feed = projection(made.model)
    tensors = under("codi.", made.model.state_dict()) | projected(feed)
    for name, shape in (change or {}).items():
        if shape is None:
            del tensors[name]
        else:
            tensors[name] = torch.zeros(shape)
    file = saved(tmp_path / "model.safetensors", tensors)
    overlay = ROOT / "configs" / "methods" / f"{method}.yaml"
    line = ["import", file, "-c", write_config(tmp_path), "-c", overlay, "--base", folder, *words]
    outcome = lcot(*line, "--name", "no", "--runs_dir", tmp_path / "runs")
    assert outcome.code == 2 and said in outcome.block, outcome.err
    assert not (tmp_path / "runs").exists()


def test_files_that_are_none(folder: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    (tmp_path / "empty").mkdir()
    saved(tmp_path / "gate.pt", {"gate": torch.zeros(1)})
    (tmp_path / "cut.safetensors").write_bytes(b"12345678")
    torch.save({"codi": Jacobi(2)}, tmp_path / "code.pt")
    torch.save({"lcot": {}, "state_dict": {}}, tmp_path / "own.ckpt")
    torch.save({"epoch": 3}, tmp_path / "plain.pt")
    for name, said in (
        ("nowhere", "there is no file or folder"),
        ("empty", "there are no weights in"),
        ("gate.pt", "no released checkpoint that is known"),
        ("cut.safetensors", "cannot be read"),
        ("code.pt", "cannot be read as tensors"),
        ("own.ckpt", "is a checkpoint of lcot"),
        ("plain.pt", "'epoch' is none"),
    ):
        outcome = lcot("import", tmp_path / name, "-c", config, "--base", folder, "--runs_dir", tmp_path / "runs")
        assert outcome.code == 2 and said in outcome.block, outcome.err
    outcome = lcot("import", "-c", config)
    assert outcome.code == 2 and "lcot import without a file" in outcome.block
    outcome = lcot("import", tmp_path / "gate.pt", "-c", config, "--base", tmp_path / "nowhere")
    assert outcome.code == 2 and "there is no such folder" in outcome.block
    assert not (tmp_path / "runs").exists()


def test_a_run_is_never_replaced(folder: Path, tmp_path: Path) -> None:
    made = original(folder, "gpt2", CODI, 3)
    file = saved(tmp_path / "codi.safetensors", under("codi.", made.model.state_dict()))
    overlay = ROOT / "configs" / "methods" / "codi.yaml"
    line = ["import", file, "-c", write_config(tmp_path), "-c", overlay, "--base", folder, "--model.feed=null"]
    words = ["--name", "one", "--runs_dir", tmp_path / "runs"]
    assert lcot(*line, *words).code == 0
    before = contents(tmp_path / "runs")
    outcome = lcot(*line, *words)
    assert outcome.code == 2 and "already holds a run" in outcome.block
    outcome = lcot("fit", "-c", tmp_path / "runs" / "one" / "config.yaml", "--resume=true")
    assert outcome.code == 2 and "the checkpoint holds weights, and nothing of the training" in outcome.block
    assert contents(tmp_path / "runs") == before


def test_nothing_stays_of_a_full_disk(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = original(folder, "gpt2", CODI, 3)
    file = saved(tmp_path / "codi.safetensors", under("codi.", made.model.state_dict()))

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunFolder, "save_config", full)
    overlay = ROOT / "configs" / "methods" / "codi.yaml"
    line = ["import", file, "-c", write_config(tmp_path), "-c", overlay, "--base", folder, "--model.feed=null"]
    outcome = lcot(*line, "--name", "one", "--runs_dir", tmp_path / "runs")
    assert outcome.code == 2 and "No space left" in outcome.block, outcome.err
    assert not (tmp_path / "runs").exists()
