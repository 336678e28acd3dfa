"""Tests of lcot.runs.released."""
