"""Tests of lcot.datamodules.word_problems."""
