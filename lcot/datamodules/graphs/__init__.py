"""ProsQA and its kin: questions about a way through a graph of facts."""
