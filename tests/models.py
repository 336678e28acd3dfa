"""Tiny random models, examples of random token ids and a hand-made tokenizer, so that no test needs a network."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from tokenizers import Regex, Tokenizer, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from lcot.reasoning.layout import EncodedExample
from lcot.reasoning.tokens import SpecialTokens

VOCABULARY = 64
SPECIAL = SpecialTokens(bot=2, eot=3, latent=4, pause=5, eos=1, pad=0)
FIRST_WORD = 6
"""Ids from here on are ordinary words; :func:`random_examples` uses no other."""

_SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
ARCHITECTURES: dict[str, dict[str, object]] = {
    # Learned positions, a fused attention bias, tied tables.
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0},
    # Rotary positions, grouped keys, an output head of its own.
    "llama": {**_SHAPE, "num_key_value_heads": 2, "tie_word_embeddings": False},
    # Biases on queries, keys and values, tied tables.
    "qwen2": {**_SHAPE, "num_key_value_heads": 2, "tie_word_embeddings": True},
    # Norms on queries and keys, a head size that is not width / heads.
    "qwen3": {**_SHAPE, "num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": False},
}


def tiny_model(architecture: str = "llama", seed: int = 0, **changes: object) -> PreTrainedModel:
    """A random causal language model of two layers in float32 and training mode, without dropout.

    Weights are drawn ten times as wide as usual and biases are not zero, so that attention is far from uniform and no
    gradient vanishes.

    Args:
        architecture: A key of :data:`ARCHITECTURES`.
        seed: Makes the weights; the global generator is left as it was.
        changes: Further fields of the model's configuration.
    """
    settings = {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 128,
        "initializer_range": 0.2,
        "bos_token_id": None,
        "eos_token_id": SPECIAL.eos,
        "pad_token_id": SPECIAL.pad,
    }
    config = AutoConfig.for_model(architecture, **{**settings, **ARCHITECTURES[architecture], **changes})
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    assert isinstance(model, PreTrainedModel)
    model.train()
    return model


def random_examples(count: int, seed: int = 0, steps: Sequence[int] = (1, 2, 3, 4)) -> list[EncodedExample]:
    """Examples of random words: questions of 2 to 12 tokens, steps of 1 to 5, answers of 1 to 3 and the eos.

    Args:
        count: How many.
        seed: Makes the words.
        steps: Numbers of steps, taken in turns.
    """
    draw = random.Random(seed)

    def words(low: int, high: int) -> list[int]:
        return [draw.randrange(FIRST_WORD, VOCABULARY) for _ in range(draw.randint(low, high))]

    return [
        EncodedExample(words(2, 12), [words(1, 5) for _ in range(steps[row % len(steps)])], [*words(1, 3), SPECIAL.eos])
        for row in range(count)
    ]


def word_tokenizer(words: Sequence[str], *, bos: bool = False, closing_eos: bool = False) -> PreTrainedTokenizerFast:
    r"""A tokenizer with one token a word, whose ids are the places in ``words``.

    Spaces only separate; ``"\n"`` is a token. Texts with other words become ``<unk>``.

    Args:
        words: The vocabulary, among it ``<unk>``, ``<s>``, ``</s>`` and ``<pad>``.
        bos: Open every text with ``<s>``, as Llama's tokenizer does.
        closing_eos: Close every text with ``</s>``, as T5's tokenizer does.
    """
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(tokenizer_models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex("\n"), "isolated")]
    )
    single = f"{'<s> ' if bos else ''}$A{' </s>' if closing_eos else ''}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=single, special_tokens=[(token, vocabulary[token]) for token in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )
