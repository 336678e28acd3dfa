"""Runs beside one another: what a run records for a comparison, and the tables that are made of it."""
