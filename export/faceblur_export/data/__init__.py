"""Labelled images and the formats that they come in."""
