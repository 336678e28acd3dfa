"""Damaged weights, checkpoints, tokenizers, descriptions, configs: each is refused in a block, or changes nothing.

An input that is accepted is right where it gives what the whole one gives, or where nobody can know better: numbers of
a kind that they may have in what people may write by hand, and bits of weights that come with no hash.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

import lcot as package
from lcot.api import Solver
from lcot.modules.stored import pick_checkpoint
from lcot.modules.weights import load_pretrained
from tests.campaign import Campaign
from tests.fuzz.mutations import changed, damaged, other_weights
from tests.softcot import Pair, make_pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

QUESTIONS = ["Tom impus. Max hilpus. impus hilpus. hilpus or impus? Max", "12 + 3 = 15\n### a dog. élan <x>"]
Told = tuple[dict[str, Tensor], list[Any]]


@pytest.fixture
def run(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a finished run."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(trained, tmp_path / "runs" / "tiny"))


@pytest.fixture
def exported(run: Path, tmp_path: Path) -> Path:
    """What was exported of it."""
    return package.load(run).save_pretrained(tmp_path / "model")


def told(folder: Path) -> Told:
    """What a run or an exported folder is: its weights, and how it reads and answers questions."""
    solver: Solver = package.load(folder)
    return solver.module.state_dict(), [*solver.solve(QUESTIONS), *map(solver.tokenizer.encode, QUESTIONS)]


def pretrained(folder: Path) -> dict[str, Tensor]:
    """The weights of a pretrained model."""
    return load_pretrained(str(folder), None, "float32", "sdpa").state_dict()


def same(weights: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    """Whether weights are equal; numbers that are none too."""
    return weights.keys() == others.keys() and all(
        torch.equal(torch.nan_to_num(weights[name].float()), torch.nan_to_num(others[name].float())) for name in weights
    )


def attempt(tally: Campaign, what: str, reads: Callable[[], Any], sound: Callable[[Any], bool]) -> None:
    """Read something damaged."""
    found: list[Any] = []
    tally.call(what, lambda: found.append(reads()), lambda: sound(found[0]))


def try_bytes(
    tally: Campaign, file: Path, count: int, reads: Callable[[], Any], sound: Callable[[Any], bool], seed: int
) -> None:
    """Damage the bytes of a file, again and again, and read what it belongs to."""
    whole, draw = file.read_bytes(), random.Random(seed)
    for number in range(count):
        what, content = damaged(whole, draw)
        file.write_bytes(content)
        attempt(tally, f"{file.name} {number}: {what}", reads, sound)
    file.write_bytes(whole)


def try_values(
    tally: Campaign, file: Path, count: int, reads: Callable[[], Any], sound: Callable[[Any, Any], bool], seed: int
) -> None:
    """Put other values into a JSON file, again and again, and read what it belongs to."""
    whole, draw = file.read_text(encoding="utf-8"), random.Random(seed)
    for number in range(count):
        what, tree = changed(json.loads(whole), draw)
        file.write_text(json.dumps(tree), encoding="utf-8")
        attempt(tally, f"{file.name} {number}: {what}", reads, lambda found: sound(found, tree))  # noqa: B023  # now
    file.write_text(whole, encoding="utf-8")


def done(tally: Campaign) -> None:
    """The figure; nothing may have ended badly."""
    print(tally.report)
    assert not tally.faults, tally.report


def alike(tree: Any, other: Any) -> bool:
    """Whether plain values have the same keys and kinds of values: what another run could have said."""
    if isinstance(tree, dict) and isinstance(other, dict):
        return tree.keys() == other.keys() and all(alike(tree[key], other[key]) for key in tree)
    numbers = isinstance(tree, int | float) and isinstance(other, int | float)
    return numbers or type(tree) is type(other) or tree is None or other is None


def test_a_checkpoint(run: Path) -> None:
    tally, file = Campaign("checkpoints"), pick_checkpoint(run)
    weights, answers = told(file)
    try_bytes(tally, file, 150, lambda: told(file), lambda found: same(found[0], weights) and found[1] == answers, 1)
    saved, draw = torch.load(file, weights_only=True), random.Random(2)
    for number in range(120):
        what, entry = changed(saved["lcot"], draw)
        torch.save({**saved, "lcot": entry}, file)
        another = alike(entry, saved["lcot"])
        attempt(
            tally,
            f"lcot {number}: {what}",
            lambda: told(file),
            lambda found: same(found[0], weights) and (found[1] == answers or another),  # noqa: B023  # asked now
        )
    model = json.loads(saved["lcot"]["backbone"])
    for number in range(60):
        what, tree = changed(model, draw)
        torch.save({**saved, "lcot": {**saved["lcot"], "backbone": json.dumps(tree)}}, file)
        attempt(tally, f"backbone {number}: {what}", lambda: told(file)[0], lambda found: same(found, weights))
    for number in range(60):
        what, state = other_weights(saved["state_dict"], draw)
        torch.save({**saved, "state_dict": state}, file)
        attempt(tally, f"{number}: {what}", lambda: told(file)[0], lambda found: same(found, state))  # noqa: B023
    done(tally)


def test_commands_on_checkpoints(run: Path) -> None:
    tally, draw = Campaign("commands on checkpoints"), random.Random(3)
    for name, words in (
        ("best", ("test", "-c", run / "config.yaml", "--data.test_size=1")),
        ("last", ("fit", "-c", run / "config.yaml", "--resume=true", "--trainer.max_epochs=2")),
    ):
        file = pick_checkpoint(run) if name == "best" else run / "checkpoints" / "last.ckpt"
        whole, saved = file.read_bytes(), torch.load(file, weights_only=True)
        for number in range(30):
            if number % 2:
                what, tree = changed({key: saved[key] for key in saved if key != "state_dict"}, draw)
                torch.save({**tree, "state_dict": saved["state_dict"]}, file)
            else:
                what, content = damaged(whole, draw)
                file.write_bytes(content)
            tally.command(f"{name} {number}: {what}", *words)
        file.write_bytes(whole)
    done(tally)


def test_an_exported_folder(exported: Path) -> None:
    tally = Campaign("exported folders")
    weights, answers = told(exported)
    described = json.loads((exported / "lcot.json").read_text())

    def whole(found: Told) -> bool:
        return same(found[0], weights) and found[1] == answers

    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        try_bytes(tally, exported / name, 25, lambda: told(exported), whole, 4)
    # One that people may edit: an answer in another way is what they want.
    try_bytes(tally, exported / "lcot.json", 60, lambda: told(exported), lambda found: same(found[0], weights), 5)
    try_values(
        tally,
        exported / "lcot.json",
        80,
        lambda: told(exported),
        lambda found, tree: same(found[0], weights) and (found[1] == answers or alike(tree, described)),
        6,
    )
    done(tally)


def test_a_pretrained_model(tmp_path: Path) -> None:
    pair: Pair = make_pair(tmp_path)
    tally, draw, folder = Campaign("pretrained models"), random.Random(6), pair.llm
    file = folder / "model.safetensors"
    weights = load_file(file)

    def as_written(found: dict[str, Tensor]) -> bool:
        written = {name: tensor for one in folder.glob("*.safetensors") for name, tensor in load_file(one).items()}
        return set(found) <= set(written) and same(found, {name: written[name] for name in found})

    try_bytes(tally, file, 80, lambda: pretrained(folder), as_written, 7)
    for number in range(60):
        what, state = other_weights(weights, draw)
        kept = {name: one.contiguous() for name, one in state.items() if isinstance(one, Tensor)}
        save_file(kept, file, metadata={"format": "pt"})
        attempt(tally, f"{number}: {what}", lambda: pretrained(folder), as_written)
    save_file(weights, file, metadata={"format": "pt"})
    try_bytes(tally, folder / "config.json", 40, lambda: pretrained(folder), as_written, 8)
    try_values(tally, folder / "config.json", 80, lambda: pretrained(folder), lambda found, _: as_written(found), 9)
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, max_shard_size="20KB")
    file.unlink()
    for name in ("model.safetensors.index.json", sorted(folder.glob("*.safetensors"))[1].name):
        try_bytes(tally, folder / name, 30, lambda: pretrained(folder), as_written, 10)
    done(tally)


def test_a_run_to_begin_with(run: Path) -> None:
    """A fit whose backbone is a run: what that run's checkpoint says and holds."""
    tally, draw, file = Campaign("runs to begin with"), random.Random(14), pick_checkpoint(run)
    saved = torch.load(file, weights_only=True)
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["model"]["init_args"]["backbone"] = {"path": str(run)}
    config["data"]["init_args"]["tokenizer"] = str(run / "tokenizer")
    Path("next.yaml").write_text(
        yaml.safe_dump({name: config[name] for name in ("model", "data", "curriculum", "trainer")})
    )
    words = ("fit", "-c", "next.yaml", "--trainer.fast_dev_run=1")
    tally.command("whole", *words)
    for number in range(40):
        if number % 2:
            what, tree = changed(json.loads(saved["lcot"]["backbone"]), draw)
            torch.save({**saved, "lcot": {**saved["lcot"], "backbone": json.dumps(tree)}}, file)
        else:
            what, state = other_weights(saved["state_dict"], draw)
            torch.save({**saved, "state_dict": state}, file)
        tally.command(f"{number}: {what}", *words)
    assert tally.fates["refused"] and tally.fates["accepted"]
    done(tally)


def test_a_runs_tokenizer(run: Path) -> None:
    tally = Campaign("tokenizers")
    weights, answers = told(run)

    def whole(found: Told) -> bool:
        return same(found[0], weights) and found[1] == answers

    for name in ("tokenizer.json", "tokenizer_config.json"):
        file = run / "tokenizer" / name
        try_bytes(tally, file, 40, lambda: told(run), whole, 11)
        try_values(tally, file, 40, lambda: told(run), lambda found, _: whole(found), 12)
    done(tally)


def test_a_runs_config(run: Path) -> None:
    """What another run's config could say is tested as that says; nothing of it is run."""
    tally, draw, file = Campaign("runs' configs"), random.Random(13), run / "config.yaml"
    text, marker = file.read_text(), run.parent / "stranger"
    (run.parent.parent / "stranger.py").write_text(f"open({str(marker)!r}, 'w')")
    for number in range(80):
        if number % 8:
            what, tree = changed(yaml.safe_load(text), draw)
            file.write_text(yaml.safe_dump(tree))
        else:
            what, content = damaged(text.encode(), draw)
            file.write_bytes(content)
        words = ("test", "-c", file, "--data.test_size=1")
        tally.command(f"{number}: {what}", *words, sound=lambda _: not marker.exists())
    done(tally)
