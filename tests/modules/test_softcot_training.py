"""Training SoftCoT: who learns, in which precision, and what it costs."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from lcot.datamodules import JSONReasoning
from lcot.datamodules.base import Split
from lcot.datamodules.rows import ListSource, Source
from lcot.errors import UserError
from lcot.modules import Backbone, Paths
from lcot.modules.assistant import Assistant
from lcot.modules.frozen import weights_hash
from lcot.modules.states import row_key
from lcot.reasoning.batch import ThoughtBatch
from lcot.reasoning.example import ReasoningExample
from tests.softcot import (
    LORA,
    Pair,
    Seen,
    batch_of,
    check_definition,
    fit,
    gradients,
    make_pair,
    ready,
    soft,
    trained_parameters,
    trainer_for,
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Both models."""
    return make_pair(tmp_path_factory.mktemp("pair"))


def in_bfloat16(pair: Pair) -> dict[str, Any]:
    """The options that load both models so."""
    folders = {"backbone": pair.llm, "assistant": pair.assistant}
    return {name: Backbone(path=str(path), dtype="bfloat16") for name, path in folders.items()}


class TestGradient:
    """Who is trained, and by how much."""

    def test_finite_differences_through_the_language_model(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path)
        batch = batch_of(data).select([0, 1, 2])
        own = trained_parameters(module)
        assert set(own) == {"projection.maps.0.weight", "projection.maps.0.bias"}
        gradient = gradients(module, module.loss(batch)[0])

        def loss_at(name: str, direction: Tensor, length: float) -> float:
            with torch.no_grad():
                own[name] += length * direction
                found = float(module.loss(batch)[0])
                own[name] -= length * direction
            return found

        for number, name in enumerate(own):
            draw = torch.Generator().manual_seed(number)
            for direction in (torch.randn(own[name].shape, generator=draw), gradient[name] / gradient[name].norm()):
                # Differences of fourth order; the loss is in float32.
                h = 0.02 / float(direction.norm())
                near, far = (loss_at(name, direction, k * h) - loss_at(name, direction, -k * h) for k in (1, 2))
                measured, exact = (8 * near - far) / (12 * h), float((gradient[name] * direction).sum())
                assert measured == pytest.approx(exact, rel=1e-2, abs=5e-3 * float(gradient[name].norm()))

    @pytest.mark.parametrize("options", [{}, {"paths": Paths(2)}, {"activation_checkpointing": True}])
    def test_frozen_means_frozen(self, pair: Pair, tmp_path: Path, options: dict[str, Any]) -> None:
        module = pair.module(**options)
        seen = fit(module, pair.data(), tmp_path, max_epochs=2)
        projection = {"projection.maps.0.weight", "projection.maps.0.bias"}
        assert len(seen.gradients) == 6 and trained_parameters(module).keys() == seen.gradients[0].keys()
        assert set(seen.gradients[0]) == projection | ({"placeholders"} if "paths" in options else set())
        for place, model in ((pair.llm, module.model), (pair.assistant, module.assistant_model)):
            assert weights_hash(model) == weights_hash(AutoModelForCausalLM.from_pretrained(place))
            assert not any(part.training for part in model.modules())
            assert all(parameter.grad is None for parameter in model.parameters())
        fresh, _ = ready(pair, tmp_path, thoughts="random")
        for one, two in zip(module.projection.parameters(), fresh.projection.parameters(), strict=True):
            assert not torch.equal(one, two)

    def test_it_learns(self, pair: Pair, tmp_path: Path) -> None:
        seen = fit(pair.module(), pair.data(), tmp_path, max_epochs=8)
        assert sum(seen.losses[-3:]) < sum(seen.losses[:3])

    def test_lora_on_the_language_model(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, backbone=Backbone(path=str(pair.llm), lora=LORA))
        names = set(trained_parameters(module))
        assert any("lora_A" in name for name in names) and any("projection" in name for name in names)
        assert all("lora_" in name or "projection" in name for name in names)
        check_definition(module, batch_of(data))
        assert module.assistant.passes == 2  # of 4 rows and 1

    def test_lora_on_the_language_model_beside_a_random_projection(self, pair: Pair, tmp_path: Path) -> None:
        options: dict[str, Any] = {"thoughts": "random", "backbone": Backbone(path=str(pair.llm), lora=LORA)}
        module, data = ready(pair, tmp_path, **options)
        assert trained_parameters(module) and all("lora_" in name for name in trained_parameters(module))
        check_definition(module, batch_of(data))

    def test_lora_on_the_assistant(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, assistant=Backbone(path=str(pair.assistant), lora=LORA))
        names = set(trained_parameters(module))
        assert {name.partition(".")[0] for name in names} == {"projection", "assistant_model"}
        check_definition(module, batch_of(data))
        assert len(module.assistant.store) == 0

    def test_it_may_be_checkpointed_too(self, pair: Pair, tmp_path: Path) -> None:
        options: dict[str, Any] = {"assistant": Backbone(path=str(pair.assistant), lora=LORA)}
        module, data = ready(pair, tmp_path, activation_checkpointing=True, **options)
        check_definition(module, batch_of(data))

    def test_a_projection_for_each_task(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, data={"dialogue": pair.dialogue(tasks=["sums", "rests"])})
        batch = batch_of(data)
        assert batch.tasks is not None and set(batch.tasks.tolist()) == {0, 1}
        check_definition(module, batch)
        # Each has gradients from its own rows alone.
        for task in (0, 1):
            rows = [row for row in range(len(batch)) if batch.tasks[row] == task]
            found = gradients(module, module.loss(batch.select(rows))[0])
            assert found[f"projection.maps.{task}.weight"].any()
            assert not found[f"projection.maps.{1 - task}.weight"].any()


class TestPrecision:
    """Small steps are not lost."""

    def test_a_projection_in_float32_beside_models_in_bfloat16(self, pair: Pair, tmp_path: Path) -> None:
        rounded = in_bfloat16(pair)
        module, _ = ready(pair, tmp_path, **rounded)
        start = {name: p.detach().clone() for name, p in trained_parameters(module).items()}
        assert start and {p.dtype for p in start.values()} == {torch.float32}

        def sgd(parameters: Any) -> torch.optim.Optimizer:
            return torch.optim.AdamW(parameters, lr=1e-6, weight_decay=0.0)

        module.optimizer = sgd
        seen = fit(module, pair.data(), tmp_path)
        assert len(seen.losses) == 3 and all(map(math.isfinite, seen.losses))
        for name, parameter in trained_parameters(module).items():
            assert parameter.dtype == torch.float32 == seen.gradients[0][name].dtype
            # Each number took its steps, of a millionth, which bfloat16 would round away.
            assert (parameter != start[name]).float().mean() > 0.95
            assert (parameter.bfloat16() == start[name].bfloat16()).float().mean() > 0.95

    def test_rounding_changes_little(self, pair: Pair, tmp_path: Path) -> None:
        exact, data = ready(pair, tmp_path)
        rounded = in_bfloat16(pair)
        short, other = ready(pair, tmp_path, **rounded)
        losses = [module.loss(batch_of(own))[0].item() for module, own in ((exact, data), (short, other))]
        assert losses[0] == pytest.approx(losses[1], rel=0.1) and losses[0] != losses[1]

    @pytest.mark.parametrize("paths", [None, Paths(2)])
    def test_mixed_precision(self, pair: Pair, tmp_path: Path, paths: Paths | None) -> None:
        module, plain = pair.module(paths=paths), pair.module(paths=paths)
        mixed = fit(module, pair.data(), tmp_path, precision="bf16-mixed")
        exact = fit(plain, pair.data(), tmp_path)
        assert mixed.losses == pytest.approx(exact.losses, rel=0.1) and mixed.losses != exact.losses
        assert {p.dtype for p in module.parameters()} == {torch.float32}
        # What is kept of the assistant is the same in both.
        keys = module.assistant.store._memory.keys()
        assert keys == plain.assistant.store._memory.keys() and len(keys) == (15 if paths is None else 0)
        assert all(torch.equal(module.assistant.store.get(key), plain.assistant.store.get(key)) for key in keys)


class Redrawn(JSONReasoning):
    """Questions that are asked in other words at each visit."""

    def make_source(self, split: Split) -> Source:
        plain = super().make_source(split)

        class Longer(ListSource):
            redraws = split == "train"

            def example(self, index: int, epoch: int) -> ReasoningExample:
                example = super().example(index, epoch)
                return replace(example, question=example.question + " Really?" * (epoch * self.redraws))

        return Longer([plain.example(index, 0) for index in range(len(plain))])


class TestCost:
    """How often the assistant is asked. Of 10 and 5 rows there are batches of 4, 4, 2 and 4, 1; two passes read one."""

    SPLITS = 5
    STEPS = 3

    @pytest.mark.parametrize("folder", [None, "states"])
    def test_the_second_epoch_asks_nobody(self, pair: Pair, tmp_path: Path, folder: str | None) -> None:
        place = str(tmp_path / folder) if folder else None
        module = pair.module(states=place)
        first = fit(module, pair.data(), tmp_path, soft(3, 2), max_epochs=3)
        assert first.reads == [2 * self.SPLITS, 0, 0] and module.assistant.passes == self.SPLITS
        again = pair.module(states=place)
        second = fit(again, pair.data(), tmp_path, soft(3, 2), max_epochs=2)
        assert second.reads == ([0, 0] if folder else [2 * self.SPLITS, 0])
        assert again.assistant.passes == (0 if folder else self.SPLITS)
        assert second.losses == first.losses[:6]

    def test_tests_ask_once_too(self, pair: Pair, tmp_path: Path) -> None:
        for reads in (4, 0):
            seen, module = Seen(), pair.module(states=str(tmp_path / "states"))
            trainer_for(tmp_path, soft(), seen).test(module, datamodule=pair.data(), verbose=False)
            assert seen.reads == [reads] and module.assistant.passes == reads / 2

    @pytest.mark.parametrize("alike", [False, True])
    def test_whether_states_depend_on_the_question(
        self, pair: Pair, tmp_path: Path, alike: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caplog.set_level("INFO", logger="lcot")
        module, data = pair.module(states=None), pair.data()
        if alike:  # an assistant that says nearly the same to all
            read = Assistant.read

            def nearly(made: Assistant, batch: ThoughtBatch) -> Tensor:
                return 1 + 0.001 * read(made, batch)

            monkeypatch.setattr(Assistant, "read", nearly)
        trainer = trainer_for(tmp_path, soft())
        trainer.test(module, datamodule=data, verbose=False)
        vectors = torch.stack([module.assistant.store.get(row_key(row.ids)) for row in data.assistant_rows("test")])
        apart = (vectors - vectors.mean(dim=0)).square().sum() / vectors.square().sum()
        assert float(trainer.callback_metrics["test/soft_deviation"]) == pytest.approx(float(apart.sqrt()), rel=1e-3)
        (said,) = [record for record in caplog.records if "deviate by" in record.getMessage()]
        assert (said.levelname == "WARNING") == alike == ("hardly depend" in said.getMessage())

    def test_redrawn_questions_are_read_in_every_step(self, pair: Pair, tmp_path: Path) -> None:
        data = pair.data(Redrawn)
        module = pair.module(states=str(tmp_path / "states"))
        seen = fit(module, data, tmp_path, max_epochs=2)
        # Validation is read up front, and once.
        assert seen.reads == [2 * self.SPLITS, 2 * self.STEPS] and len(module.assistant.store) == 5
        lengths = [batch.assistant.input_ids.shape[1] for batch in seen.batches if batch.assistant is not None]
        assert max(lengths[:3]) < max(lengths[3:])
        # Even where some are known by chance: what a step computes must not depend on who else fills the folder.
        fit(pair.module(states=str(tmp_path / "full")), pair.data(), tmp_path)
        again = fit(pair.module(states=str(tmp_path / "full")), pair.data(Redrawn), tmp_path, max_epochs=2)
        assert again.reads == [2 * self.STEPS, 2 * self.STEPS] and again.losses == seen.losses

    @pytest.mark.parametrize("options", [{"paths": Paths(2)}, {"paths": Paths(2, learned=False)}, {"lora": LORA}])
    def test_what_changes_is_never_kept(self, pair: Pair, tmp_path: Path, options: dict[str, Any]) -> None:
        if "lora" in options:
            options = {"assistant": Backbone(path=str(pair.assistant), **options)}
        module = pair.module(states=str(tmp_path / "states"), **options)
        seen = fit(module, pair.data(), tmp_path, max_epochs=2)
        assert len(module.assistant.store) == 0 and not (tmp_path / "states").exists()
        assert seen.reads[1] >= self.STEPS

    def test_what_other_processes_kept_elsewhere_is_computed_here(self, pair: Pair, tmp_path: Path) -> None:
        module, data = ready(pair, tmp_path, states=str(tmp_path / "mine"))
        # The second of two, and the first one's folder is on another machine.
        strategy = SimpleNamespace(barrier=lambda _: None)
        here = {"global_rank": 1, "world_size": 2, "strategy": strategy, "datamodule": data, "fast_dev_run": False}
        module.trainer = SimpleNamespace(**here, progress_bar_callback=None, is_global_zero=False)
        before = module.assistant.passes
        module._prepare("train")
        assert module.assistant.passes - before == 3
        module.loss(batch_of(data, "train"))
        assert module.assistant.passes - before == 3

    def test_shuffled_thoughts_are_other_questions_own(self, pair: Pair, tmp_path: Path) -> None:
        seen = fit(pair.module(), pair.data(shuffled_thoughts=True), tmp_path, max_epochs=3)
        assert seen.reads == [2 * self.SPLITS, 0, 0]

    def test_a_trial_reads_no_more_than_it_needs(self, pair: Pair, tmp_path: Path) -> None:
        module = pair.module(states=str(tmp_path / "states"))
        fit(module, pair.data(), tmp_path, fast_dev_run=True)
        # A training batch; a validation batch for its loss, and for its texts.
        assert module.assistant.passes == 3 and not (tmp_path / "states").exists()

    def test_each_assistant_has_a_folder_of_its_own(
        self, pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        variants: tuple[dict[str, Any], ...] = ({}, {"attention": "eager"}, {"dtype": "bfloat16"})
        for _ in range(2):
            for variant in variants:
                module = pair.module(states="auto", assistant=Backbone(path=str(pair.assistant), **variant))
                trainer_for(tmp_path, soft()).validate(module, datamodule=pair.data(), verbose=False)
        assert len(list((tmp_path / "lcot" / "states").iterdir())) == 3
        with pytest.raises(UserError, match="states of another assistant") as caught:
            module = pair.module(states=str(module.assistant.store.folder))
            trainer_for(tmp_path, soft()).validate(module, datamodule=pair.data(), verbose=False)
        assert "dtype bfloat16" in str(caught.value) and "model.states" in str(caught.value)

    def test_evaluation_mode_is_no_news_where_it_is_meant(
        self, pair: Pair, tmp_path: Path, recwarn: pytest.WarningsRecorder
    ) -> None:
        fit(pair.module(), pair.data(), tmp_path)
        assert not [str(warning.message) for warning in recwarn if "eval mode" in str(warning.message)]
        module, data = ready(pair, tmp_path)
        module.projection.eval()
        fit(module, data, tmp_path)
        assert [str(warning.message) for warning in recwarn if "eval mode" in str(warning.message)]
