"""What is measured in thoughts."""
