"""Train, evaluate and explain language models that reason in continuous space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcot.api import Solution, Solver, load

__version__ = "0.1.0"
__all__ = ["Solution", "Solver", "__version__", "load"]


def __getattr__(name: str) -> Any:
    # Torch, lightning and transformers take seconds to import; `import lcot` alone does not.
    if name in ("Solution", "Solver", "load"):
        from lcot import api

        return getattr(api, name)
    raise AttributeError(f"module 'lcot' has no attribute {name!r}")
