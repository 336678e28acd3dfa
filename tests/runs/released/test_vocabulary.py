"""Rows of released tables are found again under the run's own ids."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from lcot.errors import UserError
from lcot.reasoning.tokens import SpecialTokens
from lcot.runs.released.files import Files
from lcot.runs.released.names import Released
from lcot.runs.released.vocabulary import moved, rows_of

ADDED = SpecialTokens(bot=10, eot=11, latent=12, pause=13, eos=0, pad=14, added=(10, 11, 12, 13))
SHARED = SpecialTokens(bot=10, eot=11, latent=12, pause=13, eos=0, pad=0, added=(10, 11, 12, 13))


def released(markers: str) -> Released:
    return Released("somebody", ("codi",), markers, {})


def files(**beside: dict[str, Any]) -> Files:
    return Files({}, (), {name.replace("_json", ".json"): one for name, one in beside.items()})


@pytest.mark.parametrize(
    ("markers", "special", "table", "found"),
    [
        ("coconut", SHARED, 13, {10: 10, 11: 11, 12: 12}),
        ("codi", ADDED, 13, {14: 10, 10: 11, 11: 12}),
        ("codi", ADDED, 20, {14: 17, 10: 18, 11: 19}),  # a table that is padded beyond its tokenizer
        ("codi", SHARED, 13, {10: 11, 11: 12}),
        ("pccot", ADDED, 14, {10: 10, 11: 11, 12: 12, 14: 13}),
    ],
)
def test_special_tokens(markers: str, special: SpecialTokens, table: int, found: dict[int, int]) -> None:
    rows = rows_of(released(markers), files(), special, 10, table)
    assert {token: row for token, row in rows.items() if token >= 10} == found
    assert all(rows[token] == token for token in range(10))


def test_pccot_says_its_ids_itself() -> None:
    told = {"bot_token_id": 12, "eot_token_id": 13, "latent_token_id": 11}
    rows = rows_of(released("pccot"), files(pccot_args_json=told, config_json={"pad_token_id": 10}), ADDED, 10, 14)
    assert {token: rows[token] for token in (10, 11, 12, 14)} == {10: 12, 11: 13, 12: 11, 14: 10}


def test_a_tokenizer_that_has_the_names_keeps_its_ids() -> None:
    known = SpecialTokens(bot=7, eot=8, latent=9, pause=10, eos=0, pad=0, added=(10,))
    assert rows_of(released("coconut"), files(), known, 10, 10) == {token: token for token in range(10)}


@pytest.mark.parametrize(("markers", "table"), [("coconut", 12), ("coconut", 14), ("codi", 12), ("pccot", 12)])
def test_another_vocabulary_is_refused(markers: str, table: int) -> None:
    with pytest.raises(UserError, match=f"the released vocabulary has {table} rows, and the tokenizer 10 tokens"):
        rows_of(released(markers), files(), SHARED, 10, table)


def test_rows_that_were_never_released_are_means_and_never_chosen() -> None:
    table = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    made = moved(table, {0: 0, 1: 5, 2: 3}, 5, torch.float32)
    torch.testing.assert_close(made[:3], table[[0, 5, 3]])
    torch.testing.assert_close(made[3:], table.mean(dim=0).expand(2, -1))
    states = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    assert ((states @ made[3]) <= (states @ table.T).max(dim=1).values).all()
