"""Tests of lcot.callbacks."""
