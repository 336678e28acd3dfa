"""Tiny models as other code bases would release them, and what each of them writes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from lcot.datamodules.tokenizers import build_word_tokenizer, load_tokenizer
from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.decode import decode
from lcot.reasoning.feeds import Feed, Identity, Projection
from lcot.reasoning.layout import IGNORE, Layout
from lcot.reasoning.parallel import Parallel
from lcot.reasoning.think import Thinking, think
from lcot.reasoning.unmasked import Unmasked
from tests.training import tiny_data

SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 200},
    "llama": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
              "num_key_value_heads": 2, "max_position_embeddings": 200, "tie_word_embeddings": False},
}  # fmt: skip
CODI = {"pad": 0, "bot": 1, "eot": 2}
COCONUT = {"bot": 0, "eot": 1, "latent": 2}
PCCOT = {"bot": 0, "eot": 1, "latent": 2, "pad": 3}
"""Places of special tokens behind the words, or behind the model's rows."""

WRITTEN = 6
"""Tokens that an answer has at most."""


def tiny(family: str, rows: int, seed: int = 0) -> PreTrainedModel:
    """A random model with a vocabulary of so many rows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(family, vocab_size=rows, bos_token_id=0, eos_token_id=0, **SHAPES[family])
        config.initializer_range = 0.3
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    assert isinstance(model, PreTrainedModel)
    model.eval()  # type: ignore[no-untyped-call]
    return model


def base_folder(folder: Path, family: str) -> Path:
    """A base model: tokenizer without padding, config.json and weights."""
    data = tiny_data(nodes=(5, 7), hops=(1, 2))
    tokenizer = build_word_tokenizer(data.vocabulary())
    tokenizer.save_pretrained(folder)
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told["pad_token"] = None
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    tiny(family, len(tokenizer)).save_pretrained(folder)
    return folder


@dataclass
class Original:
    """A released model, and how its own code base asks it.

    Attributes:
        model: With its own rows.
        tokenizer: Of the base model.
        bot: Its id there, and so on.
        feed: What states become.
        thinker: In rounds, or one after another if ``None``.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    bot: int
    eot: int
    latent: int
    pad: int
    thoughts: int
    feed: Feed = field(default_factory=Identity)
    thinker: Parallel | None = None

    def batch(self, questions: Sequence[str], behind: str = "\n") -> ThoughtBatch:
        rows = []
        for question in questions:
            before = [*self.tokenizer(question + behind)["input_ids"], self.bot]
            ids = [*before, *[self.latent] * self.thoughts, self.eot]
            count = self.thoughts
            rows.append(Layout(ids, [IGNORE] * len(ids), len(before), count, len(ids), marked=True, stepped=count))
        return collate(rows, self.pad)

    def think(self, questions: Sequence[str], way: Unmasked | None = None, behind: str = "\n") -> Thinking:
        def thinks(batch: ThoughtBatch, **options: Any) -> Thinking:
            if self.thinker is not None:
                return self.thinker(self.model, batch, self.feed, keep_cache=True, **options)
            return think(self.model, batch, feed=self.feed, keep_cache=True, **options)

        batch = self.batch(questions, behind)
        with torch.no_grad():
            if way is None:
                return thinks(batch)
            return way.think(thinks, self.model, batch, rounds=self.thinker is not None)

    def tokens(self, questions: Sequence[str], behind: str = "\n") -> list[list[int]]:
        eos = self.tokenizer.eos_token_id
        assert isinstance(eos, int)
        return decode(self.model, self.think(questions, behind=behind), max_new_tokens=WRITTEN, eos=eos)


def original(base: Path, family: str, added: Mapping[str, int], thoughts: int, **further: Any) -> Original:
    """A model of a base model's vocabulary and some rows behind it.

    Args:
        base: Folder of the base model.
        family: Its type.
        added: Places behind the words of ``bot``, ``eot``, ``latent`` and ``pad``, where they are rows of their own.
        thoughts: How many.
        further: ``feed`` and ``thinker``.
    """
    tokenizer = load_tokenizer(base)
    words = len(tokenizer)
    pad = tokenizer.pad_token_id
    assert isinstance(pad, int)
    ids = {name: words + place for name, place in added.items()}
    model = tiny(family, words + len(added), seed=1)
    ids = {"latent": ids["bot"], "pad": pad, **ids}
    return Original(model, tokenizer, ids["bot"], ids["eot"], ids["latent"], ids["pad"], thoughts, **further)


def projection(model: PreTrainedModel, width: int | None = None, norm: bool = True) -> Projection:
    """A random one."""
    made = Projection(width, norm=norm)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        made.build(model)
    return made


def saved(file: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write tensors: as safetensors, or as torch does."""
    file.parent.mkdir(parents=True, exist_ok=True)
    copies = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    if file.suffix == ".safetensors":
        save_file(copies, file)
    else:
        torch.save(copies, file)
    return file


def under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors with a prefix."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def projected(feed: Feed) -> dict[str, Tensor]:
    """A projection by CODI's names."""
    state = feed.state_dict()
    return {name.replace("layers.4.", "prj.ln.").replace("layers.", "prj."): tensor for name, tensor in state.items()}
