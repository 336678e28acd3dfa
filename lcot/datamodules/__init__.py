"""Data sets: sources of examples and the loaders that batch them."""

from lcot.datamodules.base import ReasoningDataModule
from lcot.datamodules.graphs.closed_prosqa import ClosedProsQA
from lcot.datamodules.graphs.generator import GraphSpec, Problem
from lcot.datamodules.graphs.hints import Hints
from lcot.datamodules.graphs.prosqa import ProsQA
from lcot.datamodules.json_reasoning import JSONReasoning
from lcot.datamodules.multiplication import Multiplication
from lcot.datamodules.ontologies.prontoqa import ProntoQA
from lcot.datamodules.rows import ListSource, Source
from lcot.datamodules.word_problems.aqua import AQuA
from lcot.datamodules.word_problems.asdiv import ASDiv
from lcot.datamodules.word_problems.commonsenseqa import CommonsenseQA
from lcot.datamodules.word_problems.date_understanding import DateUnderstanding
from lcot.datamodules.word_problems.gsm8k import GSM8K
from lcot.datamodules.word_problems.strategyqa import StrategyQA
from lcot.datamodules.word_problems.sums import Sums

__all__ = [
    "GSM8K",
    "AQuA",
    "ASDiv",
    "ClosedProsQA",
    "CommonsenseQA",
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
    "Sums",
]
