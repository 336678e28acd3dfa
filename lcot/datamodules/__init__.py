"""Data sets: sources of examples and the loaders that batch them."""

from lcot.datamodules.base import ReasoningDataModule
from lcot.datamodules.graphs import GraphSpec, Problem
from lcot.datamodules.gsm8k import GSM8K
from lcot.datamodules.json_reasoning import JSONReasoning
from lcot.datamodules.multiplication import Multiplication
from lcot.datamodules.prontoqa import ProntoQA
from lcot.datamodules.prosqa import ProsQA
from lcot.datamodules.rows import ListSource, Source

__all__ = [
    "GSM8K",
    "GraphSpec",
    "JSONReasoning",
    "ListSource",
    "Multiplication",
    "Problem",
    "ProntoQA",
    "ProsQA",
    "ReasoningDataModule",
    "Source",
]
