"""Released weights become runs that answer as the released models do; what does not fit is one block, and no run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

import lcot as package
from lcot.modules.coconut import Coconut
from lcot.reasoning.batch import ThoughtBatch, collate, heads
from lcot.reasoning.decode import decode
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.feeds import Add, Projection
from lcot.reasoning.given import Given
from lcot.reasoning.heads import SpanHead
from lcot.reasoning.parallel import Jacobi, Looped
from lcot.reasoning.unmasked import Unmasked
from tests.places import ROOT
from tests.released import (
    COCONUT,
    CODI,
    PCCOT,
    WRITTEN,
    Original,
    base_folder,
    original,
    projected,
    projection,
    saved,
    tiny,
    under,
)
from tests.tiny import Outcome, lcot, write_config
from tests.training import tiny_data

FAMILIES = ("gpt2", "llama")


@pytest.fixture(scope="module", params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_folder(tmp_path_factory.mktemp("base") / request.param, request.param)


@pytest.fixture
def imported(base: Path, tmp_path: Path) -> Callable[..., Outcome]:
    config = write_config(tmp_path, {"model.init_args.max_new_tokens": WRITTEN})

    def run(method: str, *words: object) -> Outcome:
        overlay = ["-c", ROOT / "configs" / "methods" / f"{method}.yaml"]
        place = ["--name", "released", "--runs_dir", tmp_path / "runs"]
        return lcot("import", *words, "-c", config, *overlay, *place, "--base", base)

    return run


def questions() -> list[str]:
    source = tiny_data(nodes=(5, 7), hops=(1, 2)).make_source("test")
    return [source.example(number, 0).question for number in range(4)]


def rows_of(solver: Any, thoughts: int) -> ThoughtBatch:
    """Prompts of the questions, as a run lays them out."""
    asked = [ReasoningExample(question, (), "", str(number)) for number, question in enumerate(questions())]
    rows = [solver.builder.prompt(one, thoughts) for one in solver.builder.encode(asked)]
    return collate(rows, solver.special.pad, align=True)


def check(outcome: Outcome, made: Original, path: Path) -> None:
    """The run thinks and writes what the released model does, and all commands take it."""
    assert outcome.code == 0, outcome.err
    solver, asked, words = package.load(path), questions(), len(made.tokenizer)
    batch, theirs = rows_of(solver, made.thoughts), made.think(asked)
    with torch.no_grad():
        mine = solver.module.think(batch)
    assert mine.fed is not None and theirs.fed is not None
    torch.testing.assert_close(mine.fed, theirs.fed, rtol=1e-4, atol=1e-5)
    # Ids of special tokens are others in the run.
    written = [[token for token in row if token < words] for row in solver.module.answer(batch).tokens]
    assert written == [[token for token in row if token < words] for row in made.tokens(asked)]
    assert any(written)
    commands: list[list[object]] = [["test", "-c", path / "config.yaml"]]
    if isinstance(made.feed, Projection) and made.model.config.model_type == "gpt2":  # one of each thinker
        commands += [["analyze", path, "--limit", 2], ["compare", path]]
    for command in commands:
        result = lcot(*command)
        assert result.code == 0, result.err
    assert json.loads((path / "test.json").read_text())["metrics"]["test/thoughts"] == made.thoughts


class TestCoconut:
    """State dicts without a file name's ending, as torch saved them."""

    def test_coconut(self, base: Path, imported: Callable[..., Outcome], tmp_path: Path) -> None:
        made = original(base, base.name, COCONUT, 4)
        tensors = under("base_causallm.", made.model.state_dict())
        tensors["embedding.weight"] = made.model.get_input_embeddings().weight  # type: ignore[assignment]
        file = saved(tmp_path / "checkpoint_33", tensors)
        schedule = ["--curriculum.schedule.max_stage=4", "--curriculum.schedule.epochs_per_stage=1"]
        check(imported("coconut", file, *schedule), made, tmp_path / "runs" / "released")

    def test_lotus_of_a_folder(self, base: Path, imported: Callable[..., Outcome], tmp_path: Path) -> None:
        made = original(base, base.name, COCONUT, 8, feed=Add(), thinker=Looped(2))
        made.model.save_pretrained(tmp_path / "lotus")
        words = ["--model.thinker.per_step=4", "--curriculum.schedule.max_stage=2"]
        outcome = imported("lotus", tmp_path / "lotus", *words, "--curriculum.schedule.epochs_per_stage=1")
        check(outcome, made, tmp_path / "runs" / "released")

    @pytest.mark.parametrize("by", ["copy", "model"])
    def test_lotus_with_a_decoder(self, imported: Callable[..., Outcome], base: Path, tmp_path: Path, by: str) -> None:
        made = original(base, base.name, COCONUT, 8, feed=Add(), thinker=Looped(2))
        decoder = tiny(base.name, made.latent + 1, seed=5)
        tensors = under("base_causallm.", made.model.state_dict())
        file = saved(tmp_path / "model.pt", tensors | under("ia_decoder.model.", decoder.state_dict()))
        objective = f"{{ia: {{class_path: InterAnswer, init_args: {{per_step: 4, by: {by}}}}}}}"
        words = ["--model.thinker.per_step=4", "--curriculum.schedule.max_stage=2", f"--model.objectives={objective}"]
        outcome = imported("lotus", file, *words, "--curriculum.schedule.epochs_per_stage=1")
        check(outcome, made, tmp_path / "runs" / "released")
        assert ("left out" in outcome.out) == (by == "model")
        state = torch.load(tmp_path / "runs/released/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        copied = {name.rpartition("decoder.")[2]: one for name, one in state.items() if "objectives.ia." in name}
        assert bool(copied) == (by == "copy")
        for name, tensor in copied.items():
            theirs = decoder.state_dict()[name]
            torch.testing.assert_close(tensor[: len(theirs)], theirs)

    @pytest.mark.parametrize("method", ["simcot", "coconut"])
    def test_simcot(self, base: Path, imported: Callable[..., Outcome], tmp_path: Path, method: str) -> None:
        made = original(base, base.name, COCONUT, 2)
        decoder = tiny(base.name, made.latent + 1, seed=5)
        tensors = under("base_causallm.", made.model.state_dict()) | under("expainable_llm.", decoder.state_dict())
        file = saved(tmp_path / "checkpoint.pt", tensors)
        outcome = imported(
            method, file, "--curriculum.schedule.max_stage=2", "--curriculum.schedule.epochs_per_stage=1"
        )
        check(outcome, made, tmp_path / "runs" / "released")
        assert ("left out: a step decoder" in outcome.out) == (method == "coconut")
        state = torch.load(tmp_path / "runs/released/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        assert any(name.startswith("objectives.steps.decoder.") for name in state) == (method == "simcot")


class TestCodi:
    """All weights in one file, those of LoRA apart."""

    @pytest.mark.parametrize(("form", "rank"), [("model.safetensors", None), ("pytorch_model.bin", 4)])
    def test_codi(
        self, base: Path, imported: Callable[..., Outcome], tmp_path: Path, form: str, rank: int | None
    ) -> None:
        made = original(base, base.name, CODI, 3)
        made.feed = projection(made.model, 24)
        tensors = under("codi.", whole(made, rank)) | projected(made.feed)
        if rank is None and base.name == "gpt2":  # of tied tensors a file may hold either
            del tensors["codi.transformer.wte.weight"]
        saved(tmp_path / "codi" / form, tensors)
        words = ["--model.feed.width=24", "--curriculum.schedule.thoughts=3", "--lora_alpha=8"]
        outcome = imported("codi", tmp_path / "codi", *words)
        check(outcome, made, tmp_path / "runs" / "released")
        # The published way: columns of padding hold what the row of their own token makes of them.
        way, solver = Unmasked("ordinary"), package.load(tmp_path / "runs" / "released")
        assert isinstance(solver.module, Coconut)
        solver.module.unmasked = way
        with torch.no_grad():
            mine, theirs = solver.module.think(rows_of(solver, 3)).fed, made.think(questions(), way).fed
        assert mine is not None and theirs is not None
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("method", ["simcot_codi", "codi"])
    def test_simcot(self, imported: Callable[..., Outcome], base: Path, tmp_path: Path, method: str) -> None:
        made = original(base, base.name, CODI, 3)
        made.feed = projection(made.model)
        decoder = tiny(base.name, made.pad, seed=5)  # it has no rows for pad, bot and eot
        tensors = under("codi.", made.model.state_dict()) | projected(made.feed)
        tensors |= under("decoder.", decoder.state_dict())
        file = saved(tmp_path / "simcot.safetensors", tensors)
        check(imported(method, file, "--curriculum.schedule.thoughts=3"), made, tmp_path / "runs" / "released")
        state = torch.load(tmp_path / "runs/released/checkpoints/last.ckpt", weights_only=True)["state_dict"]
        kept = {name for name in state if name.startswith("objectives.steps.decoder.")}
        assert bool(kept) == (method == "simcot_codi")
        for name in kept:
            mine, theirs = state[name], decoder.state_dict()[name.removeprefix("objectives.steps.decoder.")]
            torch.testing.assert_close(mine[: len(theirs)], theirs)

    def test_a_moved_run_finds_its_tokenizer(
        self, base: Path, imported: Callable[..., Outcome], tmp_path: Path
    ) -> None:
        made = original(base, base.name, CODI, 3)
        file = saved(tmp_path / "codi.safetensors", under("codi.", made.model.state_dict()))
        outcome = imported("codi", file, "--model.feed=null", "--curriculum.schedule.thoughts=3")
        assert outcome.code == 0, outcome.err
        (tmp_path / "runs").rename(tmp_path / "elsewhere")
        outcome = lcot("test", "-c", tmp_path / "elsewhere" / "released" / "config.yaml")
        assert outcome.code == 0, outcome.err


def whole(made: Original, rank: int | None) -> dict[str, Any]:
    """A model's tensors; with a rank as peft holds them, and the model then computes with both."""
    if rank is None:
        return dict(made.model.state_dict())
    targets = (
        ["c_attn", "c_fc", "c_proj"] if made.model.config.model_type == "gpt2" else ["q_proj", "v_proj", "up_proj"]
    )
    config = LoraConfig(r=rank, lora_alpha=8, target_modules=targets, fan_in_fan_out="c_attn" in targets)
    wrapped: Any = get_peft_model(made.model, config)
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.3)
    tensors = {name: tensor.detach().clone() for name, tensor in wrapped.state_dict().items()}
    made.model = wrapped.merge_and_unload().eval()
    return tensors


class TestPCCoT:
    """An adapter of peft beside its base model, with rows of single tokens; or a merged model."""

    def test_adapter(self, base: Path, imported: Callable[..., Outcome], tmp_path: Path) -> None:
        made = original(base, base.name, PCCOT, 5, thinker=Jacobi(2))
        words = len(made.tokenizer)
        start = tiny(base.name, words)  # what lies in the base folder
        made.model = start
        start.resize_token_embeddings(words + 4, mean_resizing=False)
        gpt2 = base.name == "gpt2"
        config = LoraConfig(
            r=4,
            lora_alpha=8,
            target_modules=["c_attn", "c_proj"] if gpt2 else ["q_proj", "down_proj"],
            fan_in_fan_out=gpt2,
            trainable_token_indices={"wte" if gpt2 else "embed_tokens": [made.bot, made.eot, made.latent, made.pad, 0]},
        )
        wrapped: Any = get_peft_model(start, config)
        with torch.no_grad():
            for name, parameter in wrapped.named_parameters():
                if parameter.requires_grad:
                    parameter.copy_(
                        torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))) * 0.3
                    )
        wrapped.save_pretrained(tmp_path / "pccot", save_embedding_layers=False)
        told = {"bot_token_id": made.bot, "eot_token_id": made.eot, "latent_token_id": made.latent}
        (tmp_path / "pccot" / "pccot_args.json").write_text(json.dumps({**told, "num_latent_tokens": 5}))
        made.model = wrapped.merge_and_unload().eval()
        if not gpt2:  # rows of an untied head are drawn when it grows, and are in no file
            with torch.no_grad():
                made.model.lm_head.weight[words:] = made.model.lm_head.weight[:words].mean(dim=0)
        outcome = imported("pccot", tmp_path / "pccot", "--curriculum.schedule.thoughts=5", "--model.thinker.rounds=2")
        check(outcome, made, tmp_path / "runs" / "released")

    def test_merged_with_a_projection(self, base: Path, imported: Callable[..., Outcome], tmp_path: Path) -> None:
        made = original(base, base.name, PCCOT, 5, thinker=Jacobi(2))
        made.feed = projection(made.model)
        places = {"layers.1": "prj.0", "layers.3": "prj.2", "layers.4": "prj.3"}
        tensors = dict(made.model.state_dict())
        tensors |= {
            places[n.rpartition(".")[0]] + "." + n.rpartition(".")[2]: t for n, t in made.feed.state_dict().items()
        }
        saved(tmp_path / "pccot" / "model.safetensors", tensors)
        shape = {**made.model.config.to_dict(), "model_type": f"pccot-{base.name}", "num_iterations": 2}
        (tmp_path / "pccot" / "config.json").write_text(json.dumps(shape))
        words = ["--curriculum.schedule.thoughts=5", "--model.feed=Projection"]
        outcome = imported("pccot", tmp_path / "pccot", *words)
        assert outcome.code == 2 and "rounds is 3, and the released weights were trained with 2" in outcome.block
        outcome = imported("pccot", tmp_path / "pccot", *words, "--model.thinker.rounds=2")
        check(outcome, made, tmp_path / "runs" / "released")


class TestCMTP:
    """A student with a head, beside its teacher."""

    def test_cmtp(self, imported: Callable[..., Outcome], base: Path, tmp_path: Path) -> None:
        made = original(base, base.name, {"pad": 0, "bot": 1, "latent": 2, "eot": 3}, 0)
        head = SpanHead(2)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(4)
            head.build(made.model)
        tensors = under("student.", made.model.state_dict()) | under("teacher.", made.model.state_dict())
        tensors |= {name.replace("layers.", "mtp_projection."): one for name, one in head.state_dict().items()}
        file = saved(tmp_path / "cmtp.safetensors", tensors)
        outcome = imported("cmtp", file, "--model.thinker.max_thoughts=4", "--model.feed.span=3")
        assert outcome.code == 2 and "span is 3, and the curriculum's spans have 2 tokens" in outcome.block
        outcome = imported(
            "cmtp", file, "--model.feed.span=3", "--curriculum.schedule.size=3", "--model.thinker.max_thoughts=4"
        )
        assert outcome.code == 2 and "--model.feed.span=2 --curriculum.schedule.size=2" in outcome.block
        outcome = imported("cmtp", file, "--model.thinker.max_thoughts=4")
        assert outcome.code == 0 and "left out: the frozen teacher" in outcome.out, outcome.err
        solver, words = package.load(tmp_path / "runs" / "released"), len(made.tokenizer)
        batch = made.batch(questions())
        with torch.no_grad():
            thinking = Given(4).freely(made.model, heads(batch, made.pad), head, made.eot)
            thinking = replace(thinking, spoken=head.spoken)
            theirs = decode(made.model, thinking, max_new_tokens=WRITTEN, eos=solver.special.eos)
        answers = solver.module.answer(rows_of(solver, 0))
        assert answers.thoughts.tolist() == thinking.thoughts.tolist() and thinking.thoughts.sum() > 0
        known = [[token for token in row if token < words] for row in theirs]
        assert [[token for token in row if token < words] for row in answers.tokens] == known
        result = lcot("test", "-c", tmp_path / "runs" / "released" / "config.yaml")
        assert result.code == 0, result.err


class TestPublished:
    """The carried configs of published runs take released weights as they are."""

    @pytest.mark.parametrize("method", ["gsm8k_codi", "gsm8k_simcot_codi", "gsm8k_pccot", "gsm8k_lotus"])
    def test_configs(self, base: Path, tmp_path: Path, method: str) -> None:
        if method == "gsm8k_pccot":
            made = original(base, base.name, PCCOT, 24, thinker=Jacobi(3))
            tensors = dict(made.model.state_dict())
            told = {"bot_token_id": made.bot, "eot_token_id": made.eot, "latent_token_id": made.latent}
            saved(tmp_path / "release" / "model.safetensors", tensors)
            (tmp_path / "release" / "pccot_args.json").write_text(json.dumps(told))
        elif method == "gsm8k_lotus":
            made = original(base, base.name, COCONUT, 78, feed=Add(), thinker=Looped(6))
            saved(tmp_path / "release" / "model.pt", under("base_causallm.", made.model.state_dict()))
        else:
            made = original(base, base.name, CODI, 6)
            made.feed = projection(made.model, 768)
            tensors = under("codi.", made.model.state_dict()) | projected(made.feed)
            tensors |= under("decoder.", tiny(base.name, made.pad).state_dict()) if "simcot" in method else {}
            saved(tmp_path / "release" / "model.safetensors", tensors)
        words = ["-c", f"paper/{method}", "--base", base, "--name", "one", "--runs_dir", tmp_path / "runs"]
        outcome = lcot("import", tmp_path / "release", *words, f"--model.max_new_tokens={WRITTEN}")
        assert outcome.code == 0, outcome.err
        solver, count = package.load(tmp_path / "runs" / "one"), len(made.tokenizer)
        asked = questions()
        written = [[t for t in row if t < count] for row in solver.module.answer(rows_of(solver, made.thoughts)).tokens]
        behind = "\n" if method == "gsm8k_lotus" else ""
        assert written == [[t for t in row if t < count] for row in made.tokens(asked, behind=behind)]
