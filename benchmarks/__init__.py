"""Speed and memory, as scripts that print ratios."""
