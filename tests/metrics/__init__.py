"""Tests of lcot.metrics."""
