"""Data sets: sources of examples and the loaders that batch them."""

from lcot.datamodules.aqua import AQuA
from lcot.datamodules.asdiv import ASDiv
from lcot.datamodules.base import ReasoningDataModule
from lcot.datamodules.closed_prosqa import ClosedProsQA
from lcot.datamodules.date_understanding import DateUnderstanding
from lcot.datamodules.graph_hints import Hints
from lcot.datamodules.graphs import GraphSpec, Problem
from lcot.datamodules.gsm8k import GSM8K
from lcot.datamodules.json_reasoning import JSONReasoning
from lcot.datamodules.multiplication import Multiplication
from lcot.datamodules.prontoqa import ProntoQA
from lcot.datamodules.prosqa import ProsQA
from lcot.datamodules.rows import ListSource, Source
from lcot.datamodules.strategyqa import StrategyQA

__all__ = [
    "GSM8K",
    "AQuA",
    "ASDiv",
    "ClosedProsQA",
    "DateUnderstanding",
    "GraphSpec",
    "Hints",
    "JSONReasoning",
    "ListSource",
    "Multiplication",
    "Problem",
    "ProntoQA",
    "ProsQA",
    "ReasoningDataModule",
    "Source",
    "StrategyQA",
]
