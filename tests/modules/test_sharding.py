"""FSDP2: two processes that share a model out train as one does, keep half of it each, and write one whole file."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from lcot.cli.main import STOPPED
from lcot.modules import Backbone, Coconut
from lcot.modules.base import ReasoningModule
from lcot.modules.own import own_class
from lcot.modules.sharding import shard
from tests import whole_runs
from tests.models import tiny_model
from tests.softcot import make_pair
from tests.stand_ins import pretrained
from tests.test_distributed import EPOCHS, TESTED, VALIDATED, config_of, every_third_right, only_on, results
from tests.test_resume import in_training, in_validation
from tests.tiny import lcot, write_config
from tests.training import tiny_data
from tests.whole_runs import STEPS, Sabotage, last, replace, same_state, scalars

EXACT = 1e-5
QWEN3: dict[str, Any] = {
    "model_type": "qwen3",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 96,
    "tie_word_embeddings": False,
}


def run(config: Path, *options: str, ranks: int = 2, **further: Any) -> int:
    """A command on processes that share the model out."""
    return whole_runs.run(config, *options, ranks=ranks, strategy="fsdp2", **further)


def write(folder: Path, config: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return whole_runs.write_config(folder, config)


def weighed(file: Path) -> Sabotage:
    """Note, when training ends, how many bytes of weights and of optimizer states each process keeps."""

    def sabotage() -> None:
        inner = ReasoningModule.on_fit_end

        def local(tensor: torch.Tensor) -> int:
            own = tensor.to_local() if isinstance(tensor, DTensor) else tensor
            return own.numel() * own.element_size()

        def on_fit_end(self: ReasoningModule) -> None:
            states = [state for optimizer in self.trainer.optimizers for state in optimizer.state.values()]
            kept = {
                "weights": sum(map(local, self.parameters())),
                "optimizer": sum(local(value) for state in states for value in state.values()),
                "whole": sum(not isinstance(parameter, DTensor) for parameter in self.parameters()),
            }
            file.with_suffix(f".{os.environ.get('RANK', '0')}").write_text(json.dumps(kept))
            inner(self)

        replace(ReasoningModule, "on_fit_end", on_fit_end)

    return sabotage


def check_same(one: Path, two: Path, steps: int, *, limit: float = EXACT) -> None:
    """Each step's loss and gradient norm, and the final weights."""
    for tag in ("train/loss_step", "train/grad_norm"):
        curves = [torch.tensor([value for _, value in scalars(config, tag)]) for config in (one, two)]
        assert len(curves[0]) == len(curves[1]) == steps
        furthest = float(((curves[0] - curves[1]) / curves[0]).abs().max())
        print(f"{tag}: largest relative difference of {steps} steps {furthest:.1e}")
        assert furthest < limit
    weights, others = last(one)["state_dict"], last(two)["state_dict"]
    assert list(weights) == list(others)
    apart = max(float((others[name] - weight).abs().max()) for name, weight in weights.items())
    print(f"final weights: largest difference {apart:.1e}")
    assert apart < limit


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one process."""
    config = config_of(tmp_path_factory.mktemp("one"), 8)
    assert whole_runs.run(config, sabotage=[weighed(config.parent / "bytes")]) == 0
    return config


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run on two processes, whose batches differ in passes, since stages are mixed."""
    config = config_of(tmp_path_factory.mktemp("two"), 4)
    assert run(config, sabotage=[weighed(config.parent / "bytes")]) == 0
    return config


@pytest.mark.distributed
def test_two_processes_follow_the_curve_of_one(one: Path, two: Path) -> None:
    check_same(one, two, EPOCHS * STEPS)
    assert [value for _, value in scalars(two, "val/examples")] == [VALIDATED] * EPOCHS


@pytest.mark.distributed
def test_each_process_keeps_half(one: Path, two: Path) -> None:
    (whole,) = (json.loads(file.read_text()) for file in one.parent.glob("bytes.*"))
    parts = [json.loads(file.read_text()) for file in two.parent.glob("bytes.*")]
    assert len(parts) == 2 and all(part["whole"] == 0 for part in parts)
    for part in parts:
        share = (part["weights"] + part["optimizer"]) / (whole["weights"] + whole["optimizer"])
        print(f"weights and optimizer of a process: {share:.3f} of one process's")
        assert share <= 0.55


@pytest.mark.distributed
def test_checkpoints_are_those_of_one_process(one: Path, two: Path) -> None:
    saved, others = last(one), last(two)
    assert saved["lcot"]["module"] == others["lcot"]["module"] == "Coconut"
    assert saved["optimizer_states"][0].keys() == others["optimizer_states"][0].keys()
    for key, state in saved["optimizer_states"][0]["state"].items():
        for name, value in state.items():
            torch.testing.assert_close(others["optimizer_states"][0]["state"][key][name], value, rtol=1e-3, atol=1e-6)
    assert {type(value) for value in others["state_dict"].values()} == {torch.Tensor}


@pytest.mark.distributed
def test_each_example_counts_once_on_any_number_of_processes(two: Path) -> None:
    found = []
    for ranks, strategy in ((2, "fsdp2"), (1, "auto")):
        options: Mapping[str, Any] = {"command": "test", "ranks": ranks, "sabotage": [every_third_right]}
        assert whole_runs.run(two, strategy=strategy, **options) == 0
        found.append({name: value for name, value in results(two, "test").items() if name != "test/seconds"})
    assert found[0] == pytest.approx(found[1])
    assert found[0]["test/examples"] == TESTED and found[0]["test/accuracy"] == pytest.approx(3 / TESTED)


@pytest.mark.slow
@pytest.mark.distributed
def test_killed_and_continued_it_ends_in_the_same_bits(tmp_path: Path, two: Path) -> None:
    config = config_of(tmp_path, 4)
    assert run(config, sabotage=[only_on(1, in_training(20))]) != 0
    assert run(config) == 0
    assert same_state(last(config), last(two)) == []


@pytest.mark.slow
@pytest.mark.distributed
def test_stopped_within_an_epoch_and_in_a_validation(tmp_path: Path, two: Path) -> None:
    config = config_of(tmp_path, 4)
    assert run(config, sabotage=[only_on(1, in_training(8, signal.SIGTERM))]) == STOPPED
    assert last(config)["global_step"] == 9
    assert run(config, sabotage=[only_on(0, in_validation(1, signal.SIGTERM, batch=1))]) == STOPPED
    assert last(config)["global_step"] == 12
    # A run goes on under another strategy too, for its checkpoints say nothing of pieces.
    assert whole_runs.run(config, "--trainer.max_epochs=5", ranks=2, strategy="ddp", sabotage=[]) == 0
    weights, others = last(config)["state_dict"], last(two)["state_dict"]
    assert max(float((others[name] - weight).abs().max()) for name, weight in weights.items()) < EXACT


def variants(folder: Path) -> dict[str, dict[str, Any]]:
    """Runs of two epochs: what is trained, and how thoughts are read."""
    base = pretrained(folder / "base", tiny_data().vocabulary(), num_key_value_heads=1, hidden_size=32)
    made: dict[str, dict[str, Any]] = {}
    plain = whole_runs.settings(train_size=45, val_size=9)
    plain["trainer"]["max_epochs"] = 3
    plain["curriculum"]["schedule"]["init_args"].update(max_stage=1)
    model = plain["model"]["init_args"]
    model["backbone"]["config"].update(attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0)
    model["optimizer"]["init_args"].update(lr=3e-3, eps=1e-4)
    for name in (
        "untied",
        "cot",
        "pauses",
        "single",
        "pre_norm",
        "halting",
        "accumulated",
        "lora",
        "tree",
        "muon",
        "checkpointed",
    ):
        made[name] = copy.deepcopy(plain)
    made["untied"]["model"]["init_args"]["backbone"] = {"config": QWEN3}
    made["checkpointed"]["model"]["init_args"]["activation_checkpointing"] = True
    made["cot"]["curriculum"]["schedule"] = {"class_path": "Fixed", "init_args": {"hidden": "none"}}
    made["pauses"]["curriculum"]["schedule"]["init_args"]["kind"] = "pause"
    made["single"]["curriculum"]["schedule"]["init_args"]["passes"] = "single"
    made["pre_norm"]["model"]["init_args"]["recycle"] = "pre_norm"
    made["halting"]["model"]["init_args"]["halting"] = {"weight": 0.5, "max_thoughts": 4}
    made["accumulated"]["trainer"]["accumulate_grad_batches"] = 2
    made["lora"]["data"]["init_args"]["tokenizer"] = str(base)
    lora = {"rank": 2, "alpha": 4, "targets": ["q_proj", "v_proj"], "dropout": 0.0}
    made["lora"]["model"]["init_args"]["backbone"] = {"path": str(base), "lora": lora}
    muon = {"class_path": "torch.optim.Muon", "init_args": {"lr": 1e-3}}
    made["muon"]["model"]["init_args"]["parameter_groups"] = [{"match": "matrices", "optimizer": muon}]
    made["muon"]["trainer"].update(gradient_clip_val=0.01, gradient_clip_algorithm="value")
    made["tree"]["dashboard"] = {"tree": "validation", "questions": 2}
    return made


NAMES = (
    "untied",
    "cot",
    "pauses",
    "single",
    "pre_norm",
    "halting",
    "accumulated",
    "lora",
    "tree",
    "muon",
    "checkpointed",
)


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("name", NAMES)
def test_what_is_trained(name: str, tmp_path: Path) -> None:
    config = variants(tmp_path)[name]
    paths = []
    for ranks in (1, 2):
        config["data"]["init_args"]["batch_size"] = 8 // ranks
        paths.append(write(tmp_path / str(ranks), config))
        assert run(paths[-1], ranks=ranks) == 0
    steps = 3 * STEPS // config["trainer"].get("accumulate_grad_batches", 1)
    # Muon multiplies matrices in bfloat16.
    check_same(paths[0], paths[1], steps, limit=1e-3 if name == "muon" else 5e-5)
    for command in ("validate", "predict"):
        assert run(paths[1], command=command) == 0
    assert whole_runs.run(paths[1], command="test") == 0


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("lora", [None, "assistant", "backbone"])
def test_frozen_models_of_softcot(lora: str | None, tmp_path: Path) -> None:
    pair = make_pair(tmp_path / "pair")
    paths = []
    for ranks in (1, 2):
        config = pair.settings(data__init_args__batch_size=4 // ranks)
        if lora is not None:
            config["model"]["init_args"][lora]["lora"] = {"rank": 2, "alpha": 4, "dropout": 0.0}
        paths.append(write(tmp_path / str(ranks), config))
        assert run(paths[-1], ranks=ranks, sabotage=[weighed(paths[-1].parent / "bytes")]) == 0
    losses = [[value for _, value in scalars(config, "train/loss_step")] for config in paths]
    assert losses[1] == pytest.approx(losses[0], rel=EXACT)
    (whole,) = (json.loads(file.read_text()) for file in paths[0].parent.glob("bytes.*"))
    for file in paths[1].parent.glob("bytes.*"):
        part = json.loads(file.read_text())
        assert part["weights"] <= 0.55 * whole["weights"] and part["whole"] == 0
    assert run(paths[1], command="test") == 0
    assert whole_runs.run(paths[1], command="test") == 0


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_precisions(precision: str, tmp_path: Path) -> None:
    config = config_of(tmp_path, 4)
    assert run(config, f"--trainer.precision={precision}", "--trainer.max_epochs=4") == 0
    assert run(config, f"--trainer.precision={precision}", command="test") == 0


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--trainer.strategy=fsdp"], "trainer.strategy is 'fsdp'"),
        (["--trainer.strategy=fsdp_cpu_offload"], "trainer.strategy is 'fsdp_cpu_offload'"),
        (["--trainer.strategy=FSDPStrategy"], "trainer.strategy is 'FSDPStrategy'"),
        (["--trainer.strategy=deepspeed_stage_3"], "trainer.strategy is 'deepspeed_stage_3'"),
        (["--trainer.strategy=DeepSpeedStrategy"], "trainer.strategy is 'DeepSpeedStrategy'"),
        (["--trainer.strategy=ModelParallelStrategy"], "trainer.strategy is 'ModelParallelStrategy'"),
        (
            ["--trainer.strategy=ModelParallelStrategy", "--trainer.strategy.tensor_parallel_size=2"],
            "trainer.strategy is 'ModelParallelStrategy'",
        ),
        (["--trainer.strategy=fsdp2", "--trainer.precision=16-mixed"], "precision is '16-mixed'"),
        (["--trainer.strategy=dp"], "strategy"),
    ],
)
def test_other_strategies(options: list[str], said: str, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    outcome = lcot("fit", "-c", config, "--runs_dir", tmp_path / "runs", *options)
    assert outcome.code == 2, outcome.err
    assert said in outcome.block and len(outcome.block.splitlines()) <= 5 and "Traceback" not in outcome.err
    assert "fsdp2" in outcome.block
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.distributed
def test_compiled_decoding(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = config_of(tmp_path, 4)
    assert run(config, "--model.compiled_decoding=true") == 2
    assert "compiled_decoding is true, and the model is shared out" in capfd.readouterr().err
    assert not (tmp_path / "runs").exists()


# -- modules of one's own ---------------------------------------------------------------------------------------------


class Scaled(Coconut):
    """A method with a weight of its own."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone)
        self.scale = torch.nn.Parameter(torch.ones(3))


def test_a_class_of_ones_own_is_shared_out_under_its_name() -> None:
    module = Scaled(Backbone(config=dict(QWEN3)))
    module.model = tiny_model("qwen3")
    weights = {name: parameter.shape for name, parameter in module.named_parameters()}
    distributed.init_process_group("fake", store=FakeStore(), rank=1, world_size=2)
    try:
        shard(module, init_device_mesh("cpu", (2,)))
        assert (
            type(module) is not Scaled and isinstance(module, Scaled) and own_class(type(module)) == own_class(Scaled)
        )
        pieces = dict(module.named_parameters())
        assert {name: piece.shape for name, piece in pieces.items()} == weights
        assert all(isinstance(piece, DTensor) for piece in pieces.values())
        own = pieces["scale"]
        assert isinstance(own, DTensor) and own.to_local().shape == (1,)  # of three, the first process has two
    finally:
        distributed.destroy_process_group()
