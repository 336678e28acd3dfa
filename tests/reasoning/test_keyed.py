"""Draws that depend on what they are for, and on nothing else."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from lcot.reasoning import keyed
from lcot.reasoning.keyed import keyed_random, keyed_seed, normal

KEYS: list[tuple[object, ...]] = [
    (),
    (0,),
    ("0",),
    (False,),
    (0.0,),
    (None,),
    (0, 0),
    (1, 2),
    (2, 1),
    (12,),
    (3, 0),
    (0, 3),
    ("stage", 1, 2),
    ("token", 1, 2),
    ("stage1", 2),
    ("stage", 12),
    (-1,),
]


def test_every_field_its_type_and_its_place_matter() -> None:
    assert len({keyed_seed(*key) for key in KEYS}) == len(KEYS)


def test_the_same_key_is_the_same_number() -> None:
    assert keyed_seed("stage", 1, 2) == keyed_seed("stage", 1, 2)


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 0), (5, 9)])
def test_sums_do_not_collide(seed: int, epoch: int) -> None:
    assert keyed_seed(seed, epoch) != keyed_seed(seed + 1, epoch - 1)


def test_sixty_three_bits_all_used() -> None:
    seeds = [keyed_seed("bits", number) for number in range(2000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert len(set(seeds)) == 2000
    for bit in range(63):
        assert 800 < sum(seed >> bit & 1 for seed in seeds) < 1200


def test_a_known_number() -> None:
    """A change of the hash would silently change every published run."""
    assert keyed_seed("stage", 0, 1, 2) == 1890091638685904924


def test_other_processes_agree() -> None:
    """Python's own hash differs from process to process; ranks and workers must not."""
    code = f"import runpy; print(runpy.run_path({keyed.__file__!r})['keyed_seed']('stage', 0, 1, 2))"
    for salt in ("1", "2"):
        out = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": salt}, capture_output=True, check=True
        )
        assert int(out.stdout) == keyed_seed("stage", 0, 1, 2)


def test_generators_are_independent() -> None:
    first, second = keyed_random("a", 1), keyed_random("a", 1)
    draws = [first.random() for _ in range(5)]
    keyed_random("b", 1).random()
    assert [second.random() for _ in range(5)] == draws
    assert [keyed_random("a", 2).random() for _ in range(5)] != draws


def test_neighbouring_keys_draw_uniformly() -> None:
    draws = [keyed_random("stage", 0, 0, index).random() for index in range(4000)]
    counts = [sum(part <= 10 * draw < part + 1 for draw in draws) for part in range(10)]
    assert min(counts) > 320 and max(counts) < 480


def test_normal_numbers_are_those_of_their_key() -> None:
    state = torch.get_rng_state()
    first = normal(2000, "noise", 1)
    assert torch.equal(first, normal(2000, "noise", 1)) and not torch.equal(first, normal(2000, "noise", 2))
    assert abs(first.mean().item()) < 0.1 and abs(first.std().item() - 1) < 0.1
    assert torch.equal(state, torch.get_rng_state())
