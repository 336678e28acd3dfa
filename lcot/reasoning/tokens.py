"""The tokens that mark thoughts, and how their rows of a pretrained model start out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lcot.errors import DataError, UserError, shown
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.prompts import Prompt
from lcot.reasoning.spare import settled

BOT, EOT, LATENT, PAUSE = "<|start-latent|>", "<|end-latent|>", "<|latent|>", "<|pause|>"
THOUGHT_TOKENS = (BOT, EOT, LATENT, PAUSE)


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """Token ids of the markers and of the tokenizer's own end and padding.

    With a prompt file these are the tokens that it names, and nothing is added.

    Attributes:
        bot: Begin of thought, ``<|start-latent|>``; -1 where a prompt has none.
        eot: End of thought, ``<|end-latent|>``; -1 where a prompt has none.
        latent: Stands where a continuous or soft thought goes; its embedding is never used as an input there.
        pause: Stands where a pause goes; its embedding is learned. With a prompt, the same as ``latent``.
        eos: End of the answer; with a prompt, that of a turn.
        pad: Fills short rows; never attended to.
        added: Those of the four thought tokens that the tokenizer did not have when it was loaded.
    """

    bot: int
    eot: int
    latent: int
    pause: int
    eos: int
    pad: int
    added: tuple[int, ...] = ()


def add_thought_tokens(tokenizer: PreTrainedTokenizerBase) -> SpecialTokens:
    """Add the four markers to a tokenizer unless it has them, and return the ids.

    Every method gets the same four tokens, used or not, so that checkpoints of all methods fit one another (the
    published GSM8K runs start Coconut from a CoT checkpoint).

    Raises:
        UserError: If the tokenizer has no end-of-sequence or no padding token.
    """
    _check_roles(tokenizer, ("end-of-sequence", tokenizer.eos_token_id), ("padding", tokenizer.pad_token_id))
    known = tokenizer.get_vocab()
    missing = [token for token in THOUGHT_TOKENS if token not in known]
    tokenizer.add_tokens(missing, special_tokens=True)
    ids = tokenizer.get_vocab()
    bot, eot, latent, pause = (ids[token] for token in THOUGHT_TOKENS)
    added = tuple(ids[token] for token in missing)
    return SpecialTokens(bot, eot, latent, pause, tokenizer.eos_token_id, tokenizer.pad_token_id, added)


def prompt_tokens(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, assistant: bool = False) -> SpecialTokens:
    """The ids of the tokens that a prompt names. A frozen model knows no others, so none is ever added.

    Args:
        tokenizer: The tokenizer of the language model, or of the assistant.
        prompt: The prompt.
        assistant: Whether it is that of the assistant, whose thoughts have no markers.

    Raises:
        UserError: If the tokenizer lacks one of them, or has no padding token.
    """
    prompt, known = settled(prompt, tokenizer), tokenizer.get_vocab()
    setting = "data.dialogue.assistant_prompt" if assistant else "data.dialogue.prompt"

    def find(role: str, token: str | None) -> int:
        if token is None and role in ("bot", "eot"):
            return -1
        token = token if token is not None else tokenizer.eos_token
        if token in known:
            return known[token]
        raise UserError(
            f"the tokenizer {tokenizer.name_or_path!r} has no token {token!r}",
            where=f"{setting}: {prompt.name}, tokens.{role}",
            why="a prompt uses spare tokens of the model's own tokenizer, since nothing can be added to a frozen model",
            fix=f"set {setting} to a prompt of this family of models, or to a file of your own that extends"
            f" {prompt.name} and names another token as tokens.{role}",
        )

    _check_roles(tokenizer, ("padding", tokenizer.pad_token_id))
    bot, eot = (-1, -1) if assistant else (find("bot", prompt.bot), find("eot", prompt.eot))
    placeholder, end = find("placeholder", prompt.placeholder), find("end", prompt.end)
    assert isinstance(tokenizer.pad_token_id, int)
    return SpecialTokens(bot, eot, placeholder, placeholder, end, tokenizer.pad_token_id)


def ends_of_text(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, eos: int) -> int | list[int]:
    """What a pretrained model may end a text with, as its configuration holds it.

    Chat models have several ends, such as those of a turn and of a text: all that ``generation_config`` names. One that
    is no special token of the tokenizer is a default that somebody left there, and ends nothing.

    Args:
        model: With its ``generation_config``.
        tokenizer: Its tokenizer.
        eos: The end that answers are trained on.
    """
    named = model.generation_config.eos_token_id if model.generation_config is not None else None
    special = {token for token, entry in tokenizer.added_tokens_decoder.items() if entry.special}
    further = (set(named) if isinstance(named, list) else {named}) & special
    ends = [eos, *sorted(further - {eos})]
    return ends if len(ends) > 1 else eos


def reserved_ids(tokenizer: PreTrainedTokenizerBase, special: SpecialTokens) -> frozenset[int]:
    """The ids that mark thoughts or turns, or are special to a tokenizer otherwise: no text of an example is one.

    Args:
        tokenizer: The tokenizer.
        special: The ids of the markers.
    """
    named = {special.bot, special.eot, special.latent, special.pause, special.eos} - {-1}
    marked = {token for token, entry in tokenizer.added_tokens_decoder.items() if entry.special}
    # A tokenizer of words has unknown ones, and they are no harm.
    return frozenset((marked | set(tokenizer.all_special_ids)) - {tokenizer.unk_token_id} | named)


def special_text(tokenizer: PreTrainedTokenizerBase, example: ReasoningExample, token: int) -> DataError:
    """What an example is told that holds the name of a special token where it cannot be plain text."""
    return DataError(
        f"example {shown(example.id)} holds the text {tokenizer.convert_ids_to_tokens(token)!r}",
        where=f"question: {shown(example.question)}",
        why="it is the name of a token that marks thoughts, turns or the end of a text, and would be read as one",
        fix="write it otherwise in the question, steps and answer",
    )


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], bos: bool, plain: bool = False) -> list[list[int]]:
    """Token ids of texts that are parts of rows.

    Args:
        tokenizer: The tokenizer.
        texts: Parts, each tokenized on its own.
        bos: Whether they open rows: they then get the tokenizer's own beginning.
        plain: Whether names of special tokens in the texts are text like any other.
    """

    def ids_of(parts: list[str], around: bool) -> list[list[int]]:
        ids: list[list[int]] = tokenizer(
            parts, add_special_tokens=around, return_attention_mask=False, split_special_tokens=plain
        )["input_ids"]
        return ids

    ids = ids_of(texts, bos)
    if bos and (eos := tokenizer.eos_token_id) is not None and ids_of(["a"], True)[0][-1:] == [eos]:
        # Some tokenizers close every text with eos; behind a question it would end the row before its thoughts.
        ids = [row[:-1] for row in ids]
    return ids


def _check_roles(tokenizer: PreTrainedTokenizerBase, *roles: tuple[str, object]) -> None:
    for role, token in roles:
        if token is None:
            raise UserError(
                f"the tokenizer {tokenizer.name_or_path!r} has no {role} token",
                where="data.tokenizer",
                fix=f"set its {role} token and save it to a folder, or choose another tokenizer",
            )


@torch.no_grad()
def grow_vocabulary(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, added: Sequence[int], policy: str
) -> list[int]:
    """Give a pretrained model rows for the tokens that were added to its tokenizer, and initialise them.

    Input embedding and an untied output head follow the same policy; the released Coconut code left untied heads random
    until August 2025.

    Args:
        model: The pretrained model; changed in place.
        tokenizer: The tokenizer with the added tokens.
        added: Ids that the pretrained model never saw. They may lie inside a table that is padded beyond its tokenizer.
        policy: ``copy:TOKEN`` copies the row of one existing token (the released code uses ``copy:<<``), ``mean`` uses
            the mean of all old rows, ``random`` keeps the model's own initialisation.

    Returns:
        Ids of the rows that were initialised.

    Raises:
        UserError: If the policy is unknown, or names a text that is not exactly one token of the tokenizer.
    """
    source = _copied_token(policy, tokenizer)
    rows = _tables(model)[0].shape[0]
    new = sorted({*added, *range(rows, len(tokenizer))})
    if len(tokenizer) > rows:
        # mean_resizing would draw from a fitted normal and put all rows next to one another; the rows are set below.
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if not new or policy == "random":
        return new
    for table in _tables(model):
        row = table[source].clone() if source is not None else table[: new[0]].float().mean(0).to(table.dtype)
        table[new] = row  # a view of the table itself could not be written into it
    return new


def _copied_token(policy: str, tokenizer: PreTrainedTokenizerBase) -> int | None:
    if policy in ("mean", "random"):
        return None
    if not policy.startswith("copy:"):
        raise UserError(
            f"unknown policy {policy!r} for the rows of new tokens",
            where="model.backbone.new_tokens",
            fix="use 'mean', 'random', or 'copy:' and a token, such as 'copy:<<'",
        )
    text = policy.removeprefix("copy:")
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        found = f"{len(ids)} tokens of this tokenizer, not one" if len(ids) != 1 else "unknown to this tokenizer"
        raise UserError(
            f"{text!r} is {found}",
            where=f"model.backbone.new_tokens: {policy}",
            why="there is no single row to copy",
            fix="name a text that is one token, or use 'mean'",
        )
    return int(ids[0])


def _tables(model: PreTrainedModel) -> Sequence[torch.Tensor]:
    embedding: nn.Module = model.get_input_embeddings()
    head: nn.Module | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    tables = [embedding.weight]
    if head is not None and head.weight is not embedding.weight:
        tables.append(head.weight)
    return [table for table in tables if isinstance(table, torch.Tensor)]
