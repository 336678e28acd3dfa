"""Tests of lcot.datamodules.graphs."""
