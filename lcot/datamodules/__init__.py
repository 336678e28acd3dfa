"""Data sets: sources of examples and the loaders that batch them."""

from lcot.datamodules.base import ListSource, ReasoningDataModule, Source
from lcot.datamodules.graphs import GraphSpec, Problem
from lcot.datamodules.prosqa import ProsQA

__all__ = ["GraphSpec", "ListSource", "Problem", "ProsQA", "ReasoningDataModule", "Source"]
