"""LightningModules."""

from lcot.modules import sharding as sharding  # registers the strategy
from lcot.modules.backbone import Backbone
from lcot.modules.coconut import Coconut
from lcot.modules.halting import Halting
from lcot.modules.lora import LoRA
from lcot.modules.schedules import WarmupStableDecay
from lcot.modules.softcot import Paths, SoftCoT
from lcot.modules.voting import Voting

__all__ = ["Backbone", "Coconut", "Halting", "LoRA", "Paths", "SoftCoT", "Voting", "WarmupStableDecay"]
