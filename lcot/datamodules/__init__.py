"""Data sets: sources of examples and the loaders that batch them."""

from lcot.datamodules.base import ReasoningDataModule
from lcot.datamodules.graphs import GraphSpec, Problem
from lcot.datamodules.prosqa import ProsQA
from lcot.datamodules.rows import ListSource, Source

__all__ = ["GraphSpec", "ListSource", "Problem", "ProsQA", "ReasoningDataModule", "Source"]
