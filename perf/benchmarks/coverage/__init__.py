"""Faces that leak in whole videos."""
