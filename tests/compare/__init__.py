"""Tests of lcot.compare."""
