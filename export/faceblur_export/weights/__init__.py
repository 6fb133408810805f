"""Weights files: known, fetched, read without running their code."""
