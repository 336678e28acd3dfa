"""Tests of lcot.modules."""
