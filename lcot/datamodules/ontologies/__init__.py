"""ProntoQA: questions about what follows in an ontology."""
