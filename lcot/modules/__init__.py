"""LightningModules."""

from lcot.modules.backbone import Backbone
from lcot.modules.coconut import Coconut, Halting
from lcot.modules.schedules import WarmupStableDecay

__all__ = ["Backbone", "Coconut", "Halting", "WarmupStableDecay"]
