"""Tests of lcot.datamodules.ontologies."""
