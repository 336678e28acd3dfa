"""How answers and paths are read from texts, and metrics that count each example exactly once."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lcot.metrics.answers import AnswerAccuracy, Average, extract_answer, is_correct
    from lcot.metrics.extractors import EXTRACTORS, Extractor, accuracy_names, extractor, pair_name, resolved
    from lcot.metrics.pairs import Pairs
    from lcot.metrics.paths import CATEGORIES, Category, PathCategories, judge

__all__ = [
    "CATEGORIES",
    "EXTRACTORS",
    "AnswerAccuracy",
    "Average",
    "Category",
    "Extractor",
    "Pairs",
    "PathCategories",
    "accuracy_names",
    "extract_answer",
    "extractor",
    "is_correct",
    "judge",
    "pair_name",
    "resolved",
]


def __getattr__(name: str) -> Any:
    # Torch and torchmetrics take seconds to import, and who compares runs needs the statistics alone.
    if name in __all__:
        for part in ("extractors", "answers", "pairs", "paths"):
            found = import_module(f"{__name__}.{part}")
            if hasattr(found, name):
                return getattr(found, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
