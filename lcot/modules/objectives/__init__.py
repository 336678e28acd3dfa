"""What is learnt from the states: each objective gives sums with their own counts."""
