"""Cameras a machine with a GPU holds."""
