"""`cameras.yaml`: read, checked, explained by line."""
