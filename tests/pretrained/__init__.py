"""Tests of lcot.pretrained."""
