"""What tests of SoftCoT train with: models of two families, one to read and one to assist, prompts and problems."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lcot.callbacks import CurriculumCallback
from lcot.datamodules import JSONReasoning
from lcot.modules import Backbone, LoRA, SoftCoT
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Curriculum, Fixed
from lcot.reasoning.dialogue import Dialogue
from lcot.reasoning.layout import IGNORE, Layout
from tests.chat import Family, chat_tokenizer
from tests.models import tiny_model
from tests.reasoning.test_soft import defined_loss, defined_text
from tests.tiny import settings
from tests.training import tiny_trainer

THOUGHTS = 3
MOST = 6
"""Tokens of a text."""

LORA = LoRA(rank=2, alpha=4, dropout=0.0)

LLM: tuple[Family, str, dict[str, Any]] = ("llama3", "llama", {})
ASSISTANT: tuple[Family, str, dict[str, Any]] = ("qwen25", "qwen2", {"hidden_size": 24, "intermediate_size": 40})

_PROMPT = """\
extends: _parts/{family}
assistant:
  user: "{{n}} hints for: {{question}}"
  turn: "Hints: {{thoughts}}"
llm:
  user: ["{{problem}}", "{{hint}}"]
  between: "\\n"
  problem: "Q: {{question}}"
  hint: "Hints: {{thoughts}}"
target:
  step: "{{step}}\\n"
  answer: "### {{answer}}"
"""


@dataclass(frozen=True)
class Pair:
    """Folders of two pretrained models, each with its tokenizer, and a prompt file for each.

    Attributes:
        folder: What all is in.
        llm: The language model.
        assistant: The assistant.
    """

    folder: Path
    llm: Path = field(init=False)
    assistant: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "llm", self.folder / "llm")
        object.__setattr__(self, "assistant", self.folder / "assistant")

    def dialogue(self, **options: Any) -> Dialogue:
        """How both are asked."""
        other = {"assistant": str(self.assistant), "assistant_prompt": str(self.folder / "qwen25.yaml")}
        return Dialogue(**{"prompt": str(self.folder / "llama3.yaml"), **other, **options})

    def data(self, kind: type[JSONReasoning] = JSONReasoning, /, **options: Any) -> JSONReasoning:
        """Questions for them: 10 to train on, 5 to validate, 5 to test."""
        files = {f"{split}_path": str(self.folder / f"{split}.json") for split in ("train", "val", "test")}
        plain = {"tokenizer": str(self.llm), "dialogue": self.dialogue(), "batch_size": 4, "seed": 0, **files}
        return kind(**{**plain, **options})

    def settings(self, **changes: Any) -> dict[str, Any]:
        """The same as a config has it, of two epochs.

        Args:
            changes: As in :func:`tests.tiny.settings`, with ``__`` for dots.
        """
        files = {f"{split}_path": str(self.folder / f"{split}.json") for split in ("train", "val", "test")}
        options = {**files, "tokenizer": str(self.llm), "dialogue": asdict(self.dialogue()), "batch_size": 4}
        optimizer = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-2, "weight_decay": 0.0}}
        models = {"backbone": {"path": str(self.llm)}, "assistant": {"path": str(self.assistant)}}
        written = {"optimizer": optimizer, "max_new_tokens": MOST, "states": None}
        return settings(
            {
                "model": {"class_path": "SoftCoT", "init_args": {**models, **written}},
                "data": {"class_path": "JSONReasoning", "init_args": options},
                "curriculum.schedule": {
                    "class_path": "Fixed",
                    "init_args": {"hidden": "none", "thoughts": THOUGHTS, "kind": "soft"},
                },
                "trainer.log_every_n_steps": 1,
                **{name.replace("__", "."): value for name, value in changes.items()},
            }
        )

    def module(self, **options: Any) -> Any:
        """SoftCoT on them, its states in memory."""
        models = {"backbone": Backbone(path=str(self.llm)), "assistant": Backbone(path=str(self.assistant))}
        return SoftCoT(**{**models, "optimizer": _adam, "max_new_tokens": MOST, "states": None, **options})


def make_pair(folder: Path, **shape: Any) -> Pair:
    """Write two small random models as Hugging Face has pretrained ones, prompts, and data."""
    pair = Pair(folder)
    for place, (family, architecture, changes) in ((pair.llm, LLM), (pair.assistant, ASSISTANT)):
        write_model(place, family, architecture, **changes, **shape)
        (folder / f"{family}.yaml").write_text(_PROMPT.format(family=family), encoding="utf-8")
    for split, first, count in (("train", 0, 10), ("val", 10, 5), ("test", 15, 5)):
        write_problems(folder / f"{split}.json", first, count)
    return pair


def write_problems(file: Path, first: int, count: int) -> Path:
    """Write a data file."""
    file.write_text(json.dumps([record(number) for number in range(first, first + count)]), encoding="utf-8")
    return file


def write_model(folder: Path, family: Family, architecture: str, **changes: Any) -> Path:
    """Write a model and its tokenizer."""
    tokenizer = chat_tokenizer(family)
    # The placeholder is the padding too, and transformers would make its embedding zero.
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": None}
    shape = {"vocab_size": len(tokenizer), "max_position_embeddings": 512}
    tiny_model(architecture, **{**ids, **shape, **changes}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def record(number: int) -> dict[str, Any]:
    """A problem; questions, chains and answers differ in length."""
    sums = [f"{place} + {number} = {place + number}" for place in range(number % 3 + 1)]
    question = f"What is {' and '.join(str(place) for place in range(number % 4 + 1))} with {number}?"
    return {"question": question, "steps": sums, "answer": str(number), "task": ("sums", "rests")[number % 2]}


def soft(train: int = THOUGHTS, inference: int | None = None, **options: Any) -> Fixed:
    """SoftCoT's schedule."""
    return Fixed("none", train, "soft", inference_thoughts=inference, **options)


class Seen(L.Callback):
    """What went through a fit.

    Attributes:
        batches: The training batches.
        losses: The training losses.
        reads: How often the assistant's own forward ran, epoch by epoch; ``reads[0]`` includes what came before.
        gradients: The gradients of each step, by name.
    """

    def __init__(self) -> None:
        self.batches: list[ThoughtBatch] = []
        self.losses: list[float] = []
        self.reads: list[int] = []
        self.gradients: list[dict[str, Tensor]] = []
        self._count = 0

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._listen(pl_module)

    def on_test_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._listen(pl_module)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.batches.append(batch)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        self.losses.append(loss.item())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self.gradients.append({name: p.grad.clone() for name, p in pl_module.named_parameters() if p.grad is not None})

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.reads.append(self._count)
        self._count = 0

    def on_test_end(self, trainer: Any, pl_module: Any) -> None:
        self.reads.append(self._count)

    def _listen(self, pl_module: Any) -> None:
        if pl_module.assistant_model is not None:

            def note(*_: object) -> None:
                self._count += 1

            pl_module.assistant_model.base_model.register_forward_hook(note)


def trainer_for(folder: Path, schedule: Curriculum | CurriculumCallback, *callbacks: L.Callback, **changes: Any) -> Any:
    """A quiet trainer on the CPU, of one epoch."""
    return tiny_trainer(folder, schedule, *callbacks, **{"max_epochs": 1, **changes})


def fit(
    module: Any, data: Any, folder: Path, schedule: Curriculum | None = None, *callbacks: L.Callback, **changes: Any
) -> Seen:
    """Train."""
    seen = Seen()
    trainer_for(folder, schedule or soft(), seen, *callbacks, **changes).fit(module, datamodule=data)
    return seen


def ready(pair: Pair, folder: Path, schedule: Curriculum | None = None, **options: Any) -> tuple[Any, Any]:
    """A module that was set up and learned nothing, and its data, set up for training and validation.

    Args:
        pair: The models.
        folder: Where files may be written.
        schedule: The curriculum.
        options: Of the module; ``data`` holds those of the data module, ``size`` how far weights are moved.
    """
    data, size = pair.data(**options.pop("data", {})), options.pop("size", 0.1)
    module = pair.module(**options)
    trainer_for(folder, schedule or soft(), limit_val_batches=1).validate(module, datamodule=data, verbose=False)
    data.setup("fit")
    moved(module, size)
    return module.train(), data


def moved(module: torch.nn.Module, size: float) -> None:
    """Change all that is trained a little, so that nothing is zero by construction."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=size)


def trained_parameters(module: torch.nn.Module) -> dict[str, Tensor]:
    """What has a gradient, by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def gradients(module: Any, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of each trained parameter; zero for one that takes no part."""
    own = trained_parameters(module)
    found = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
    return {
        name: gradient if gradient is not None else torch.zeros_like(own[name])
        for name, gradient in zip(own, found, strict=True)
    }


def alone(batch: ThoughtBatch, pads: tuple[int, int]) -> Iterator[ThoughtBatch]:
    """Each row of a batch as a batch of its own, without padding."""
    for row in range(len(batch)):
        layout = layout_of(batch, row)
        examples = (batch.examples[row],) if batch.examples else ()
        yield collate([layout], pads[0], [int(batch.index[row])], examples, assistant_pad=pads[1])


def layout_of(batch: ThoughtBatch, row: int) -> Layout:
    """The layout that a row was made of."""
    real = batch.attention_mask[row]
    start = int(real.nonzero()[0, 0])
    thoughts = int(batch.thoughts[row])
    made = Layout(
        batch.input_ids[row][real].tolist(),
        batch.labels[row][real].tolist(),
        head=(batch.first if thoughts else int(batch.prompt_ends[row])) - start,
        thoughts=thoughts,
        prompt=int(batch.prompt_ends[row]) - start,
        task=int(batch.tasks[row]) if batch.tasks is not None else 0,
    )
    if batch.assistant is None or not thoughts:
        return made
    return made.with_views({"assistant": layout_of(batch.assistant, row)})


def texts(module: Any, batch: ThoughtBatch) -> list[list[int]]:
    """What the module writes, in evaluation mode."""
    training = module.training
    module.eval()
    written: list[list[int]] = module.answer(batch).tokens
    module.train(training)
    return written


def batch_of(data: Any, split: str = "val") -> ThoughtBatch:
    """All rows of a split in one batch."""
    data.batch_size = data.eval_batch_size = 16
    (batch,) = list(getattr(data, f"{split}_dataloader")())
    assert isinstance(batch, ThoughtBatch)
    return batch


def pads(data: Any) -> tuple[int, int]:
    """Padding of both models' rows."""
    return data.special.pad, data.assistant_special.pad


def states_of(module: Any, row: Layout, placeholder: Tensor | None = None) -> Tensor:
    """``(N, D_a)``: one pass of the assistant over its row alone, without a cache."""
    assert row.assistant is not None
    model, asked = module.assistant_model, row.assistant
    inputs = model.get_input_embeddings()(torch.tensor([asked.ids]))
    if placeholder is not None:
        fed = placeholder.expand(1, asked.thoughts, -1)
        inputs = torch.cat([inputs[:, : asked.head], fed.to(inputs.dtype)], dim=1)
    states: Tensor = model.base_model(inputs_embeds=inputs).last_hidden_state[0]
    return states[asked.head : asked.head + asked.thoughts]


def made_by_hand(module: Any, row: Layout) -> Tensor:
    """``(N, D)`` thoughts of a row."""
    if module.thoughts == "zeros":
        return torch.zeros(row.thoughts, module.model.config.hidden_size)
    if module.thoughts == "placeholders":
        own: Tensor = module.model.get_input_embeddings()(torch.tensor(row.ids))
        return own[row.head : row.head + row.thoughts]
    linear = module.projection.maps[row.task]
    return F.linear(states_of(module, row), linear.weight, linear.bias)


def check_definition(module: Any, batch: ThoughtBatch) -> list[list[int]]:
    """Loss, gradients and texts of a batch are those of its rows, one by one; returns the texts."""
    rows = [layout_of(batch, row) for row in range(len(batch))]
    expected = sum((defined_loss(module.model, row, made_by_hand(module, row)) for row in rows), torch.zeros(()))
    loss, tokens, _ = module.loss(batch)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert tokens == sum(label != IGNORE for row in rows for label in row.labels)
    if trained_parameters(module):
        wanted = gradients(module, expected)
        for name, gradient in gradients(module, loss).items():
            assert gradient.norm() > 0 and (gradient - wanted[name]).norm() <= 1e-4 * wanted[name].norm(), name
    eos = module.special.eos
    with torch.no_grad():
        by_hand = [defined_text(module.model, row, made_by_hand(module, row), MOST, eos) for row in rows]
    assert texts(module, batch) == by_hand
    return by_hand


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.0)
