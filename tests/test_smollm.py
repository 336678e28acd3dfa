"""The pretrained model of ``make smollm``: its methods on a stand-in, and on the real weights where they are.

The latter are looked for in models/smollm2, or where LCOT_SMOLLM says.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch

from lcot.datamodules import Sums
from lcot.datamodules.tokenizers import load_tokenizer
from lcot.datamodules.word_problems.sums import PEOPLE, THINGS
from lcot.modules.weights import load_pretrained
from lcot.reasoning.feeds import Rescale, embedding_table
from tests.places import ROOT
from tests.stand_ins import pretrained
from tests.tiny import lcot

CONFIG, METHODS = ROOT / "configs" / "smollm.yaml", ROOT / "configs" / "methods"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WEIGHTS = Path(os.environ.get("LCOT_SMOLLM", ROOT / "models" / "smollm2"))
needs_weights = pytest.mark.skipif(
    not (WEIGHTS / "config.json").is_file(), reason="needs SmolLM2-135M-Instruct: make models/smollm2, or LCOT_SMOLLM"
)
COMPARED = [words.replace("\\\n", " ").split() for words in re.findall(r"--methods ((?:[\w ]|\\\n\t)+)", MAKEFILE)]
"""The methods of each comparison of the Makefile."""
ASKED = re.search(r"^ASKED := (.*)", MAKEFILE, flags=re.MULTILINE)
OVER_SMOLLM = sorted({method for words in COMPARED if "coconut_rescale" in words for method in words})


def test_the_makefile_compares_methods_that_are_there() -> None:
    assert {"cot", "no_cot", "coconut", "coconut_rescale", "pause_as_thought", "codi"} == set(OVER_SMOLLM)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small model in the place of the fetched one; commands start there."""
    monkeypatch.chdir(tmp_path)
    return pretrained(tmp_path / "models" / "smollm2", Sums().vocabulary(), max_position_embeddings=1024)


@pytest.mark.parametrize("method", OVER_SMOLLM)
def test_a_method_trains_over_a_pretrained_model(method: str, stand_in: Path) -> None:
    small = [f"--data.{split}_size=4" for split in ("train", "val", "test")]
    words = ("fit", "-c", CONFIG, "-c", METHODS / f"{method}.yaml", *small, "--data.batch_size=2")
    outcome = lcot(*words, "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu")
    assert outcome.code == 0, outcome.err


def words(command: str) -> list[str]:
    """What the Makefile gives a command on the pretrained model as it is, up to the line's end."""
    found = re.search(rf"lcot {command} \$\(ASKED\) ((?:[^\n]|\\\n)*?)\n\t\$", MAKEFILE)
    assert found is not None and ASKED is not None
    return f"{ASKED[1]} {found[1]}".replace("\\\n", " ").replace("configs/", f"{ROOT}/configs/").split()


def test_zero_shot_asks_the_model_as_it_is(stand_in: Path) -> None:
    outcome = lcot("test", *words("test"), "--data.test_size=4", "--model.max_new_tokens=8")
    assert outcome.code == 0, outcome.err
    assert Path("runs/smollm/zero_shot-0/test.json").is_file()


def test_softcot_of_a_pretrained_model_trains(stand_in: Path) -> None:
    own = words("compare")
    for option, values in (("--methods", 1), ("--seeds", 3), ("--jobs", 1)):
        place = own.index(option)
        del own[place : place + 1 + values]
    small = [f"--data.{split}_size=8" for split in ("train", "val", "test")]
    quick = (*small, "--trainer.fast_dev_run=true", "--trainer.accelerator=cpu", "--model.max_new_tokens=8")
    outcome = lcot("fit", *own, "-c", METHODS / "softcot.yaml", *quick)
    assert outcome.code == 0, outcome.err


@pytest.mark.slow
@needs_weights
def test_names_are_single_tokens_and_answers_fit() -> None:
    tokenizer = load_tokenizer(WEIGHTS)
    assert all(len(tokenizer.tokenize(name)) == 1 for name in PEOPLE)
    assert all(len(tokenizer.tokenize(f" {word}")) == 1 for word in (*PEOPLE, *THINGS))
    data = Sums(seed=0, train_size=500, tokenizer=str(WEIGHTS))
    source = data.make_source("train")
    for index in range(500):
        question, *text = data.text.pieces(source.example(index, 0))
        asked, written = (sum(len(ids) for ids in tokenizer(texts)["input_ids"]) for texts in ([question], text))
        assert asked <= 55 and written < 48  # with the end of text


@pytest.mark.slow
@needs_weights
def test_thoughts_are_as_long_as_real_embeddings() -> None:
    model = load_pretrained(str(WEIGHTS), None, "float32", "eager")
    lengths = embedding_table(model).norm(dim=-1)
    feed = Rescale()
    feed.build(model)
    with torch.no_grad():
        states = model.base_model(torch.tensor([[504, 3575, 314]])).last_hidden_state
    assert states.norm(dim=-1).min() > 5 * lengths.mean()
    assert torch.allclose(feed(states, states, model).norm(dim=-1), lengths.mean(), rtol=1e-4)


@pytest.mark.slow
@needs_weights
@pytest.mark.timeout(900)
def test_it_learns_the_form_of_the_answers(tmp_path: Path) -> None:
    """After 32 steps texts end with an answer."""
    small = ("--data.train_size=256", "--data.val_size=4", "--data.test_size=8", "--trainer.max_epochs=1")
    over = ("--model.backbone.path", WEIGHTS, "--data.tokenizer", WEIGHTS, "--trainer.enable_progress_bar=false")
    words = ("-c", CONFIG, "-c", METHODS / "cot.yaml", *small, *over, "--runs_dir", tmp_path, "--name", "cot")
    assert lcot("fit", *words).code == 0
    outcome = lcot("test", "-c", tmp_path / "cot" / "config.yaml")
    assert outcome.code == 0, outcome.err
    answered = re.search(r"test answered +([\d.]+) %", outcome.out + outcome.err)
    assert answered is not None and float(answered[1]) > 90
