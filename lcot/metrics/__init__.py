"""How answers are read from texts, and metrics that count each example exactly once."""

from lcot.metrics.answers import AnswerAccuracy, Average, extract_answer, is_correct
from lcot.metrics.extractors import EXTRACTORS, Extractor, accuracy_names, extractor

__all__ = [
    "EXTRACTORS",
    "AnswerAccuracy",
    "Average",
    "Extractor",
    "accuracy_names",
    "extract_answer",
    "extractor",
    "is_correct",
]
