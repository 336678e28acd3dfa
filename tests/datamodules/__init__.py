"""Tests of lcot.datamodules."""
