"""Groups of parameters: who is in which, what each optimizer does, and runs that are killed."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Muon, Optimizer, Rprop

from lcot.errors import UserError
from lcot.modules.lora import LoRA, add_lora
from lcot.modules.optimizers import HIGHEST, WORDS, Optimizers, ParameterGroup, check_rates, divided, make_optimizer
from lcot.modules.schedules import WarmupStableDecay
from lcot.reasoning.batch import collate
from lcot.reasoning.think import supervised_loss, think
from tests.models import ARCHITECTURES, SPECIAL, tiny_model
from tests.reasoning.support import layouts
from tests.test_resume import in_training
from tests.training import stages, tiny_data, tiny_module, tiny_trainer
from tests.whole_runs import last, run, same_state, scalars, settings, write_config


def adamw(parameters: Any) -> Optimizer:
    return AdamW(parameters, lr=1e-3, weight_decay=0.1)


def muon(parameters: Any) -> Optimizer:
    return Muon(parameters, lr=2e-2, weight_decay=0.1)


APART = [ParameterGroup(["vectors", "tables"], optimizer=adamw)]


def train(model: nn.Module, optimizers: list[Optimizer], steps: int = 3) -> None:
    """Steps on one batch."""
    batch = collate(layouts(), SPECIAL.pad)
    for _ in range(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        total, tokens = supervised_loss(model, batch, think(model, batch))  # type: ignore[arg-type]
        (total / tokens).backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class TestGroups:
    """Every parameter is in exactly one."""

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_words_divide_a_decoder(self, architecture: str) -> None:
        model = tiny_model(architecture)
        vectors, tables, matrices, rest = divided(model, [[word] for word in WORDS])
        assert not rest
        assert sorted(map(id, [*vectors, *tables, *matrices])) == sorted(map(id, model.parameters()))
        named = {own: name for name, own in model.named_parameters()}
        assert all("norm" in named[own] or "ln_" in named[own] or named[own].endswith("bias") for own in vectors)
        endings = {"wte.weight", "wpe.weight", "embed_tokens.weight", "lm_head.weight"}
        assert all(any(named[own].endswith(ending) for ending in endings) for own in tables)
        assert len(tables) == (1 if model.config.tie_word_embeddings and architecture != "gpt2" else 2)
        assert all(own.ndim == 2 for own in matrices) and len(matrices) >= 8

    def test_the_first_that_matches_has_it(self) -> None:
        model = tiny_model()
        norms, layer, rest = divided(model, [["*norm*"], ["*.layers.0.*"]])
        named = {own: name for name, own in model.named_parameters()}
        assert {named[own] for own in norms} == {name for name in named.values() if "norm" in name}
        assert {named[own] for own in layer} == {
            name for name in named.values() if ".layers.0." in name and "norm" not in name
        }
        assert len(norms) + len(layer) + len(rest) == len(named)

    def test_shared_weights_have_all_their_names(self) -> None:
        model = tiny_model("qwen2")
        (head,), _ = divided(model, [["lm_head.weight"]])
        assert head is model.get_input_embeddings().weight

    def test_rows_that_lora_trains_are_tables(self) -> None:
        model = tiny_model()
        add_lora(model, LoRA(targets=("q_proj",)), [SPECIAL.bot])
        tables, thin, rest = divided(model, [["tables"], ["*.lora_?.*"]])
        assert len(tables) == 2 and len(thin) == 4 and not rest  # frozen weights belong to nobody

    @pytest.mark.parametrize(
        ("groups", "says"),
        [
            ([["*.biass"]], r"'\*\.biass' matches no parameter\n[^$]*some names are lm_head\.weight"),
            ([["tables", "nothing"]], "'nothing' matches no parameter"),
            ([["*"], ["vectors"]], "'vectors' matches no parameter that is left\n[^$]*an earlier group has them all"),
        ],
    )
    def test_patterns_without_a_match(self, groups: list[list[str]], says: str) -> None:
        with pytest.raises(UserError, match=says):
            divided(tiny_model(), groups)

    @pytest.mark.parametrize(
        ("fields", "says"),
        [
            ({"match": [], "lr": 1.0}, "a group matches"),
            ({"match": "", "lr": 1.0}, "a group matches"),
            ({"match": "vectors"}, "trained as the rest is"),
            ({"match": "vectors", "lr": -1.0}, "lr is -1.0"),
            ({"match": "vectors", "weight_decay": float("nan")}, "weight_decay is nan"),
        ],
    )
    def test_groups_that_cannot_be_meant(self, fields: dict[str, Any], says: str) -> None:
        with pytest.raises(UserError, match=says):
            ParameterGroup(**fields)


class TestOptimizers:
    """One or several."""

    def test_no_decay_for_vectors(self) -> None:
        model = tiny_model()
        optimizer = make_optimizer(model, adamw, [ParameterGroup("vectors", weight_decay=0.0)])
        assert type(optimizer) is AdamW
        before = weights(model)
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        for parameter, then in zip(model.parameters(), before, strict=True):
            assert torch.allclose(parameter, then * (1.0 if parameter.ndim < 2 else 1 - 1e-3 * 0.1), rtol=1e-6)
            assert torch.equal(parameter, then) == (parameter.ndim < 2)

    def test_two_together_are_each_by_itself(self) -> None:
        model, other = tiny_model(), tiny_model()
        train(model, [make_optimizer(model, muon, APART)])
        vectors, tables, matrices, _ = divided(other, [[word] for word in WORDS])
        train(other, [muon(matrices), adamw([*vectors, *tables])])
        assert same(weights(model), weights(other))

    def test_a_closure_is_called_once_with_gradients(self) -> None:
        model = tiny_model()
        optimizer = make_optimizer(model, muon, APART)
        calls = []

        def closure() -> float:
            calls.append(torch.is_grad_enabled())
            return 0.5

        assert optimizer.step(closure) == 0.5 and calls == [True]

    def test_saved_and_loaded_it_goes_on_the_same(self, tmp_path: Path) -> None:
        model = tiny_model()
        optimizer = make_optimizer(model, muon, APART)
        train(model, [optimizer])
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "saved")
        train(model, [optimizer])
        saved = torch.load(tmp_path / "saved", weights_only=True)
        other = tiny_model(seed=1)
        other.load_state_dict(saved["model"])
        again = make_optimizer(other, muon, APART)
        again.load_state_dict(saved["optimizer"])
        train(other, [again])
        assert same(weights(model), weights(other))

    def test_forgetting_the_state_is_beginning_anew(self) -> None:
        model = tiny_model()
        optimizer = make_optimizer(model, muon, APART)
        train(model, [optimizer])
        other = tiny_model()
        other.load_state_dict(model.state_dict())
        optimizer.state.clear()
        train(model, [optimizer])
        train(other, [make_optimizer(other, muon, APART)])
        assert same(weights(model), weights(other))

    def test_a_schedule_scales_all_groups(self) -> None:
        model = tiny_model()
        groups = [ParameterGroup("vectors", optimizer=adamw), ParameterGroup("tables", optimizer=adamw)]
        optimizer = make_optimizer(model, muon, [ParameterGroup("*.mlp.*weight", lr=0.5), *groups])
        assert isinstance(optimizer, Optimizers)
        schedule = WarmupStableDecay(optimizer, warmup_steps=3, total_steps=10)
        full = [2e-2, 0.5, 1e-3, 1e-3]
        for step in (1, 2, 3):
            for part in (optimizer, *optimizer.parts):
                part_rates = [group["lr"] for group in part.param_groups]
                assert set(part_rates) <= {rate * step / 4 for rate in full}
            assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([r * step / 4 for r in full])
            optimizer.step()
            schedule.step()

    @pytest.mark.parametrize(
        ("make", "groups", "says"),
        [
            (muon, [], r"only supports 2D[^$]*match: \[vectors, tables\], optimizer: AdamW"),
            (muon, [ParameterGroup("tables", optimizer=adamw)], "only supports 2D"),
            (adamw, [ParameterGroup("vectors", optimizer=muon)], r"model\.parameter_groups\[0\]\.optimizer"),
            (adamw, [ParameterGroup("*", optimizer=muon)], "nothing is left for model.optimizer"),
            (
                lambda parameters: Rprop(parameters, lr=0.1),
                [ParameterGroup("vectors", weight_decay=0.0)],
                "Rprop has no such setting",
            ),
        ],
    )
    def test_what_cannot_be_made(self, make: Any, groups: list[ParameterGroup], says: str) -> None:
        with pytest.raises(UserError, match=says):
            make_optimizer(tiny_model(), make, groups)


def grouped() -> dict[str, Any]:
    """Muon for matrices, AdamW for the rest, a rate of its own for the last layer: all that resuming must restore."""
    made = settings()
    arguments = made["model"]["init_args"]
    arguments["optimizer"] = {"class_path": "torch.optim.Muon", "init_args": {"lr": 0.02}}
    own = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01}}
    arguments["parameter_groups"] = [
        {"match": ["vectors", "tables"], "optimizer": own},
        {"match": "*.h.1.mlp.*.weight", "lr": 0.005, "weight_decay": 0.0},
    ]
    made["trainer"]["max_epochs"] = 5
    return made


def test_killed_and_resumed_it_ends_in_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = write_config(tmp_path / "whole", grouped())
    assert run(whole) == 0
    (tmp_path / "killed").mkdir()
    killed = write_config(tmp_path / "killed", grouped())
    option = "--last_checkpoint.every_n_steps=4"
    for step in (5, 13, 20):
        assert run(killed, option, sabotage=[in_training(step)]) == -signal.SIGKILL
    assert run(killed, option) == 0
    assert same_state(last(killed), last(whole)) == []
    rates = [
        dict(scalars(whole, tag)) for tag in ("train/lr", "train/lr/_.h.1.mlp._.weight", "train/lr/vectors+tables")
    ]
    assert all(len(found) > 20 for found in rates)
    for step, rate in rates[0].items():
        assert rates[1][step] == pytest.approx(rate / 4, rel=1e-5)
        assert rates[2][step] == pytest.approx(rate / 2, rel=1e-5)


@pytest.mark.parametrize(("gamma", "warned"), [(1e-4, 1), (0.5, 0)])
def test_a_rate_that_has_fallen_to_nothing_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, gamma: float, warned: int
) -> None:
    def scheduler(optimizer: Optimizer) -> Any:
        return torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=gamma)

    module = tiny_module(optimizer=lambda parameters: SGD(parameters, lr=0.1), lr_scheduler=scheduler)
    with caplog.at_level(logging.WARNING, logger="lcot"):
        tiny_trainer(tmp_path, stages(), max_epochs=3).fit(module, datamodule=tiny_data())
    found = [record.getMessage() for record in caplog.records if "learning rate" in record.getMessage()]
    assert len(found) == warned
    assert all("at the start of epoch 1" in text and "model.lr_scheduler" in text for text in found)


def test_a_warm_up_from_nothing_is_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def scheduler(optimizer: Optimizer) -> Any:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: step / 6)

    module = tiny_module(optimizer=lambda parameters: SGD(parameters, lr=0.1), lr_scheduler=scheduler)
    with caplog.at_level(logging.WARNING, logger="lcot"):
        tiny_trainer(tmp_path, stages(), max_epochs=2).fit(module, datamodule=tiny_data())
    assert not [record for record in caplog.records if "learning rate" in record.getMessage()]


@pytest.mark.parametrize(
    ("rates", "kind", "told"),
    [
        ((HIGHEST, 1.0), AdamW, False),
        ((1e-3, 0.0), AdamW, True),
        ((1e-3, 0.0), SGD, False),
    ],
    ids=["a usual one", "one for a model from scratch", "of another kind of optimizer"],
)
def test_a_rate_that_undoes_pretrained_weights_is_told(
    rates: tuple[float, float], kind: type[Optimizer], told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    pretrained, fresh = nn.Linear(2, 2), nn.Linear(2, 2)
    groups = [
        {"params": list(pretrained.parameters()), "lr": rates[0]},
        {"params": list(fresh.parameters()), "lr": rates[1]},
    ]
    check_rates(kind(groups, lr=1.0), pretrained.parameters())  # type: ignore[call-arg]
    assert ("is trained at a rate of 1.0e-03" in caplog.text) == told == bool(caplog.records)
