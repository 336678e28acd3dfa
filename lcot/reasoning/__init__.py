"""The core: what a trace of reasoning is, and how a model thinks it. Torch and transformers only."""

from lcot.reasoning.batch import ThoughtBatch, collate
from lcot.reasoning.curriculum import Curriculum, Fixed, Stage, StageClock
from lcot.reasoning.decode import Sampling
from lcot.reasoning.dialogue import Dialogue, DialogueBuilder
from lcot.reasoning.example import ReasoningExample
from lcot.reasoning.feeds import Add, Expectation, Feed, Identity, Projection, Rescale
from lcot.reasoning.given import Given
from lcot.reasoning.heads import Head, LatentHead, SpanHead
from lcot.reasoning.layout import LayoutBuilder
from lcot.reasoning.parallel import Jacobi, Looped, Parallel
from lcot.reasoning.spanwise import Spanwise
from lcot.reasoning.stepwise import Stepwise
from lcot.reasoning.text import TextFormat
from lcot.reasoning.think import Thinking, supervised_loss
from lcot.reasoning.thinker import Thinker
from lcot.reasoning.tokenwise import Tokenwise
from lcot.reasoning.until import think_until

__all__ = [
    "Add",
    "Curriculum",
    "Dialogue",
    "DialogueBuilder",
    "Expectation",
    "Feed",
    "Fixed",
    "Given",
    "Head",
    "Identity",
    "Jacobi",
    "LatentHead",
    "LayoutBuilder",
    "Looped",
    "Parallel",
    "Projection",
    "ReasoningExample",
    "Rescale",
    "Sampling",
    "SpanHead",
    "Spanwise",
    "Stage",
    "StageClock",
    "Stepwise",
    "TextFormat",
    "Thinker",
    "Thinking",
    "ThoughtBatch",
    "Tokenwise",
    "collate",
    "supervised_loss",
    "think_until",
]
