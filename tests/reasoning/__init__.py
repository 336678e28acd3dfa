"""Tests of lcot.reasoning."""
