"""Hostile configs and options through the commands: one block, or a run that has what was typed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from lcot.runs.configs import carried
from tests.campaign import BAD, Campaign
from tests.tiny import settings, write_config

NINES = "9" * 5000
DEEP = "[" * 300 + "]" * 300

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 3, 10**17, 10**30, 0.5, -0.5, 1e308, float("inf"), "", "x", " ", "null", "é", "\n",
    "a" * 3000, "nothing/x.yaml", ".", "torch.nn.Linear", "math.sqrt", [], [1], [[1]], ["x"], {}, {"x": 1},
    {"class_path": "x"}, {"class_path": "math.sqrt", "init_args": {"x": 4}},
)  # fmt: skip

RAW = (
    "&a {x: *a}", "&a [*a]", DEEP, NINES, f"[{NINES}]", "!!python/name:math.sqrt x", "=", "{[1]: 2}", '"\\ud800"',
    '"a\\0b"', "!!binary x", "{a: 1, a: 2}", ".nan", "2024-99-99", "1_000", "0x1f", "012", "1e3", "@x", "%x", "`x",
    "*b", "- a", "{a: ", "a: b: c", "\t", "? x", "<<: 3", "{<<: *b}", "|", "'x",
)  # fmt: skip

OPTIONS = (
    "--data.batch_size", "--data.nodes", "--data.text", "--data.text.after_step", "--data.tokenizer", "--data.seed",
    "--model", "--model.optimizer", "--model.optimizer.lr", "--model.lr_scheduler", "--model.max_new_tokens",
    "--model.backbone", "--model.backbone.config", "--model.backbone.config.hidden_size", "--model.sampling",
    "--model.backbone.config.hidden_act", "--model.backbone.config.num_hidden_layers", "--model.backbone.lora",
    "--curriculum", "--curriculum.schedule", "--curriculum.schedule.max_stage", "--curriculum.eval_stage", "--trainer",
    "--trainer.max_epochs", "--trainer.callbacks", "--trainer.callbacks+", "--trainer.logger", "--trainer.precision",
    "--trainer.devices", "--trainer.val_check_interval", "--trainer.limit_val_batches", "--trainer.strategy",
    "--trainer.gradient_clip_val", "--trainer.accumulate_grad_batches", "--trainer.plugins", "--trainer.profiler",
    "--best_checkpoint.monitor", "--best_checkpoint.keep", "--last_checkpoint.every_n_steps", "--dashboard.questions",
    "--seed_everything", "--name", "--runs_dir", "--threads", "--resume", "--ckpt_path", "-c", "--nothing",
    "--modell.x",
)  # fmt: skip

# What a number, a word or a list set by an option of a plain setting has to be in the effective settings.
PLAIN = {
    "--data.batch_size": ("data", "init_args", "batch_size"),
    "--data.seed": ("data", "init_args", "seed"),
    "--model.max_new_tokens": ("model", "init_args", "max_new_tokens"),
    "--trainer.max_epochs": ("trainer", "max_epochs"),
    "--trainer.limit_val_batches": ("trainer", "limit_val_batches"),
    "--dashboard.questions": ("dashboard", "questions"),
    "--data.text.after_step": ("data", "init_args", "text", "after_step"),
    "--name": ("name",),
    "--runs_dir": ("runs_dir",),
}

DRY = ("--trainer.fast_dev_run=1", "--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false")


@dataclass(frozen=True)
class Line:
    """A command line, and what must be in the settings if it is accepted."""

    what: str
    words: tuple[str, ...]
    wanted: tuple[tuple[str, ...], str] | None = None

    def kept(self, printed: str) -> bool:
        """Whether what ``--print_config`` printed has the option's value."""
        if self.wanted is None:
            return True
        found: Any = yaml.safe_load(printed.partition("\nlcot: ")[0])
        for part in self.wanted[0]:
            found = found[part]
        given = self.wanted[1]
        # 012 is twelve for whoever types it, and ten in YAML 1.1.
        return str(found) == given or found == yaml.safe_load(given) or (given.isdigit() and found == int(given))


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a config."""
    if path:
        yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def changed(config: Any, draw: random.Random) -> tuple[str, str]:
    """A config with one thing wrong, as text, and what that is."""
    made = deepcopy(config)
    *above, last = draw.choice(list(places(made)))
    owner = made
    for key in above:
        owner = owner[key]
    at = ".".join(map(str, [*above, last]))
    kind = draw.randrange(6)
    if kind == 0:
        del owner[last]
        return f"without {at}", yaml.safe_dump(made, sort_keys=False)
    if kind == 1 and isinstance(owner, dict):
        owner[str(last) + "s"] = owner.pop(last)
        return f"{at} misspelled", yaml.safe_dump(made, sort_keys=False)
    if kind == 2:
        owner[last] = "HERE"
        raw = draw.choice(RAW)
        return f"{at}: {raw[:30]}", yaml.safe_dump(made, sort_keys=False).replace("HERE", raw, 1)
    if kind == 3:
        whole = yaml.safe_dump(made, sort_keys=False)
        cut = draw.randrange(1, len(whole))
        return f"cut at {cut}", whole[:cut]
    value = draw.choice(VALUES)
    owner[last] = value
    return f"{at}: {str(value)[:30]}", yaml.safe_dump(made, sort_keys=False, allow_unicode=True)


def typed(draw: random.Random) -> tuple[str, str]:
    """An option and its value."""
    option = draw.choice(OPTIONS)
    value = draw.choice([*map(json.dumps, VALUES[:10]), *(str(value) for value in VALUES[10:]), *RAW])
    return option, value


def lines(folder: Path, count: int, draw: random.Random) -> Iterator[Line]:
    """Command lines over configs that are there, and over those with one thing wrong."""
    shipped = [path for path in carried().rglob("*.yaml") if path.parent.name != "methods"]
    tiny = write_config(folder)
    for number in range(count):
        base = settings() if number % 3 else yaml.safe_load(draw.choice(shipped).read_text(encoding="utf-8"))
        kind = number % 5
        if kind < 2:
            what, text = changed(base, draw)
            file = folder / "changed.yaml"
            file.write_text(text, encoding="utf-8", errors="surrogatepass")
            command = draw.choice(["fit", "fit", "test", "predict", "show"]) if number % 3 else "fit"
            rest = () if command == "show" else DRY if number % 3 and command == "fit" else ("--print_config",)
            yield Line(f"{command}: {what}", (command, "-c", str(file), *rest))
            continue
        option, value = typed(draw)
        words = [f"{option}={value}"] if draw.random() < 0.7 else [option, value]
        where = draw.randrange(2)
        line = [*words, "-c", str(tiny)] if where else ["-c", str(tiny), *words]
        if kind == 2:
            yield Line(f"fit {option} {value[:40]}", ("fit", *line, *DRY))
        else:
            plain = PLAIN.get(option)
            yield Line(
                f"print {option} {value[:40]}", ("fit", *line, "--print_config"), (plain, value) if plain else None
            )


def others(folder: Path, run: Path, draw: random.Random) -> Iterator[Line]:
    """Options of the commands that take run folders."""
    values = ["", "x", "-1", "0", NINES[:5000], "1e3", "null", "[]", ".", "é", "\n", "a" * 3000]
    analyze = ["--thoughts", "--limit", "--questions", "--batch_size", "--device", "--split", "--checkpoint", "--data"]
    analyze += ["--data.batch_size", "--threads", "--seed_everything", "--nothing", "--out"]
    compare = ["--split", "--markdown", "--csv", "--plot", "--paths", "--seeds", "--jobs", "--methods", "--nothing"]
    for option in analyze:
        for value in values:
            if option != "--out" and not (option == "--questions" and value == "0"):
                yield Line(f"analyze {option} {value[:20]}", ("analyze", str(folder / "none"), f"{option}={value}"))
    for option in compare:
        for value in values[:9]:
            yield Line(f"compare {option} {value[:20]}", ("compare", str(run), f"{option}={value}"))
    for name in ("--index", "--split", "--data.train_size", "--name"):
        for value in values:
            yield Line(f"show {name} {value[:20]}", ("show", "-c", str(folder / "tiny.yaml"), f"{name}={value}"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
def test_hostile_settings(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tried = Campaign("settings", seconds=90)
    draw = random.Random(11)
    for line in lines(tmp_path, 1000, draw):
        tried.command(line.what, *line.words, sound=line.kept)
    for line in others(tmp_path, trained, draw):
        tried.command(line.what, *line.words)
    print(tried.report)
    assert sum(tried.fates.values()) >= 1200
    assert not any(tried.fates[fate] for fate in BAD), tried.report
