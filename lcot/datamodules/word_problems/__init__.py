"""GSM8K and other questions in people's words."""
