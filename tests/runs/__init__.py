"""Tests of lcot.runs."""
