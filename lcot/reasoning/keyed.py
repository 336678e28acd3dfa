"""Random draws that are keyed by what they are for, so that nothing has to be saved to repeat them."""

from __future__ import annotations

import hashlib
import os
import random

import torch
from torch import Tensor


def keyed_seed(*fields: object) -> int:
    """A 63-bit seed that depends on every field and on their order.

    Fields are hashed rather than added up: sums such as ``seed + epoch`` make different runs share streams.
    """
    text = "\x1f".join(f"{type(field).__name__}:{field}" for field in fields)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def keyed_random(*fields: object) -> random.Random:
    """A generator of its own for the given fields."""
    return random.Random(keyed_seed(*fields))


def normal(size: int, *fields: object) -> Tensor:
    """Standard normal numbers ``(size,)`` in float32 on the CPU."""
    return torch.randn(size, generator=torch.Generator().manual_seed(keyed_seed(*fields)))


def run_seed() -> int:
    """The seed that ``seed_everything`` was given, 0 if it was never called."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))
