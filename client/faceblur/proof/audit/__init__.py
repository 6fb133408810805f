"""The chained record of what was masked."""
