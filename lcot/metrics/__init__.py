"""How answers and paths are read from texts, and metrics that count each example exactly once."""

from lcot.metrics.answers import AnswerAccuracy, Average, extract_answer, is_correct
from lcot.metrics.extractors import EXTRACTORS, Extractor, accuracy_names, extractor, resolved
from lcot.metrics.pairs import Pairs, pair_name
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
