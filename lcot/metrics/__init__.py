"""Metrics that count each example exactly once."""

from lcot.metrics.answers import AnswerAccuracy, Average, extract_answer, is_correct

__all__ = ["AnswerAccuracy", "Average", "extract_answer", "is_correct"]
