"""Tests of lcot.cli."""
