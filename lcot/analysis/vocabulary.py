"""Thoughts beside words: the rows of the embedding table that stand for words, and which of them are near.

Letters in shapes: M vectors, D hidden width, V rows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

from lcot.analysis.thinker import Thinker
from lcot.reasoning.feeds import embedding_scale, embedding_table

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The input embeddings of the words of a tokenizer.

    Left out are rows that stand for no word: those of the thought tokens and of padding, those of single bytes such as
    ``<0xC9>``, in which unknown words are spelled, and those beyond the tokenizer, with which tables are filled up.

    Attributes:
        ids: ``(V,)`` token ids of the rows.
        rows: ``(V, D)`` the embeddings as the model reads them, in float32.
        tokens: The text of each row's token.
    """

    ids: Tensor
    rows: Tensor
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, thinker: Thinker) -> Vocabulary:
        """The words that a model was given."""
        table = embedding_table(thinker.model)
        tokenizer, special = thinker.builder.tokenizer, thinker.builder.special
        no_words = {special.bot, special.eot, special.latent, special.pause, special.pad}
        names = map(str, tokenizer.convert_ids_to_tokens(list(range(min(len(tokenizer), len(table))))))
        kept = [n for n, name in enumerate(names) if n not in no_words and not _BYTE.fullmatch(name)]
        ids = torch.tensor(kept, device=table.device)
        rows = table.detach()[ids].float() * embedding_scale(thinker.model).float()
        return cls(ids, rows, tuple(token_text(tokenizer, number) for number in kept))

    def cosines(self, vectors: Tensor) -> Tensor:
        """Cosines ``(M, V)`` between vectors ``(M, D)`` and the rows."""
        return F.normalize(vectors.float(), dim=-1) @ F.normalize(self.rows, dim=-1).T

    def distances(self, vectors: Tensor) -> Tensor:
        """Euclidean distances ``(M, V)`` between vectors ``(M, D)`` and the rows."""
        # Differences, not inner products: a thought that equals a row is at distance 0.
        return torch.cdist(vectors.float(), self.rows, compute_mode="donot_use_mm_for_euclid_dist")

    @property
    def mean_norm(self) -> float:
        """Mean L2 norm of the rows."""
        return float(self.rows.norm(dim=-1).mean())


def token_text(tokenizer: PreTrainedTokenizerBase, number: int) -> str:
    """A token's text; for a part of a character, which has none, the name that the tokenizer gives it."""
    text = str(tokenizer.decode([number]))
    return str(tokenizer.convert_ids_to_tokens(number)) if "\N{REPLACEMENT CHARACTER}" in text else text
