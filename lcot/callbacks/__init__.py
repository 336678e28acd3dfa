"""Callbacks: the curriculum, checkpoints, dashboards, predictions, progress."""

from lcot.callbacks.best_checkpoint import BestCheckpoint
from lcot.callbacks.checkpoints import LastCheckpoint
from lcot.callbacks.curriculum import CurriculumCallback
from lcot.callbacks.dashboard import Dashboard
from lcot.callbacks.predictions import PredictionWriter
from lcot.callbacks.progress import ReasoningProgressBar

__all__ = [
    "BestCheckpoint",
    "CurriculumCallback",
    "Dashboard",
    "LastCheckpoint",
    "PredictionWriter",
    "ReasoningProgressBar",
]
