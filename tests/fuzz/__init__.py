"""Many damaged inputs at once; run with -m slow."""
