"""LightningModules."""

from lcot.modules import sharding as sharding  # registers the strategy
from lcot.modules.backbone import Backbone
from lcot.modules.coconut import Coconut
from lcot.modules.halting import Halting
from lcot.modules.lora import LoRA
from lcot.modules.objectives.base import Objective, TeacherText, Text
from lcot.modules.objectives.distillation import Distillation
from lcot.modules.objectives.inter_answer import InterAnswer
from lcot.modules.objectives.keys_values import KeyValueDistillation
from lcot.modules.objectives.latents import LatentLoss
from lcot.modules.objectives.spans import SpanTokens
from lcot.modules.objectives.steps import PlaceText, StepDecoder
from lcot.modules.schedules import WarmupStableDecay
from lcot.modules.softcot import Paths, SoftCoT
from lcot.modules.teacher import Teacher
from lcot.modules.voting import Voting

__all__ = [
    "Backbone",
    "Coconut",
    "Distillation",
    "Halting",
    "InterAnswer",
    "KeyValueDistillation",
    "LatentLoss",
    "LoRA",
    "Objective",
    "Paths",
    "PlaceText",
    "SoftCoT",
    "SpanTokens",
    "StepDecoder",
    "Teacher",
    "TeacherText",
    "Text",
    "Voting",
    "WarmupStableDecay",
]
