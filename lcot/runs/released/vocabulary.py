"""Which row of a released table is which token of a run.

A run's tokenizer has the four thought tokens of lcot behind the words; code bases give their own out in another order,
and not all of them. So rows are moved: a table's row i is the released row of the token that i is here. What was never
released (a pause for CODI, say) gets the mean of all rows, whose logit is the mean of all logits and never the largest.

Letters in shapes: V rows, D hidden width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lcot.errors import UserError
from lcot.reasoning.tokens import SpecialTokens
from lcot.runs.released.files import Files
from lcot.runs.released.names import Released

PADDING = "[PAD]"
"""What CODI and PCCoT add to a tokenizer that has no padding of its own."""


def with_padding(
    tokenizer: PreTrainedTokenizerBase, special: SpecialTokens, released: Released
) -> tuple[SpecialTokens, int]:
    """Give a tokenizer a token for padding where the released code does.

    Args:
        tokenizer: With the thought tokens; changed in place.
        special: Their ids.
        released: The weights.

    Returns:
        The ids, and the number of tokens that the tokenizer had before anything was added.
    """
    words = len(tokenizer) - len(special.added)
    if released.markers == "coconut" or special.pad != special.eos:
        return special, words
    tokenizer.add_special_tokens({"pad_token": PADDING})
    assert isinstance(tokenizer.pad_token_id, int)
    return replace(special, pad=tokenizer.pad_token_id), words


def rows_of(released: Released, files: Files, special: SpecialTokens, words: int, table: int) -> dict[int, int]:
    """The released row of each token of the run; those that are not there were never released.

    Args:
        released: The weights.
        files: Where they are from.
        special: The run's ids.
        words: Number of tokens that the tokenizer had before anything was added.
        table: V, rows of the released table.

    Raises:
        UserError: If tokenizer and table do not go together.
    """
    rows = {token: token for token in range(min(words, table))}
    own_padding = special.pad >= words
    if released.markers == "coconut":
        if not special.added or special.bot not in special.added:
            return {token: token for token in range(min(words, table))}  # the tokenizer has them by their names
        marked = {special.bot: words, special.eot: words + 1, special.latent: words + 2}
        fits, wanted = table == words + 3, f"{words} words and start, end and latent behind them"
    elif released.markers == "codi":
        first = table - 3
        marked = {special.bot: first + 1, special.eot: first + 2} | ({special.pad: first} if own_padding else {})
        fits, wanted = words <= first, f"{words} words, and behind the model's own rows pad, bot and eot"
    elif released.markers == "cmtp":
        first = table - 4  # what fills a span up is a pause here
        marked = {special.bot: first + 1, special.pause: first + 2, special.eot: first + 3}
        marked |= {special.pad: first} if own_padding else {}
        fits, wanted = words <= first, f"{words} words, and behind the model's own rows pad, bot, mot and eot"
    else:
        marked = _of_pccot(files, special, words, own_padding)
        last = max(marked[token] for token in (special.bot, special.eot, special.latent))
        fits, wanted = last < table, f"rows up to {last} for the tokens of thoughts"
    if not fits:
        raise UserError(
            f"the released vocabulary has {table} rows, and the tokenizer {words} tokens",
            where=f"{files.told}; data.tokenizer",
            why=f"{released.source} has {wanted}",
            fix="give the tokenizer of the model that was trained: --base FOLDER, or --data.tokenizer=FOLDER",
        )
    return rows | marked


def _of_pccot(files: Files, special: SpecialTokens, words: int, own_padding: bool) -> dict[int, int]:
    told = files.beside.get("pccot_args.json", {})
    order = ("bot_token_id", "eot_token_id", "latent_token_id")
    found = [told[name] if type(told.get(name)) is int else words + place for place, name in enumerate(order)]
    marked = dict(zip((special.bot, special.eot, special.latent), found, strict=True))
    pad = files.beside.get("config.json", {}).get("pad_token_id")
    if not own_padding:
        return marked
    return marked | {special.pad: pad if type(pad) is int and pad >= words else max(*found, words - 1) + 1}


@torch.no_grad()
def moved(table: Tensor, rows: Mapping[int, int], size: int, dtype: torch.dtype) -> Tensor:
    """A table ``(size, D)`` for the run's tokens, made of a released one ``(V, D)``."""
    made = table.float().mean(dim=0, keepdim=True).to(dtype).repeat(size, 1)
    here = [token for token, row in rows.items() if row < len(table)]
    made[here] = table[[rows[token] for token in here]].to(dtype)
    return made
