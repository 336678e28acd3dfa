"""Weights that others released, by the names of their tensors: read, told apart, and put into a module."""
