"""How many threads a CPU's operators have: a number that decides how sums are rounded, and so the bits of a run."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import torch

from lcot.errors import UserError

_log = logging.getLogger("lcot")


def set_threads(threads: int | None) -> None:
    """Take the number that was asked for; torch's own choice, the machine's cores, if there is none.

    Raises:
        UserError: If there can be no such number.
    """
    if threads is None:
        return
    if threads < 1:
        raise UserError(f"threads is {threads}", where="--threads", fix="use 1 or more, or leave it out")
    torch.set_num_threads(threads)


def keep_threads(threads: int | None, described: Mapping[str, Any]) -> None:
    """Have a run that continues take the number that it had, if none was asked for and there are as many cores.

    Args:
        threads: What was asked for.
        described: What its checkpoint says about itself.
    """
    before = described.get("threads")
    if threads is None and before is not None and before <= (os.cpu_count() or 1):
        torch.set_num_threads(before)
