"""Tests of lcot.modules.objectives."""
