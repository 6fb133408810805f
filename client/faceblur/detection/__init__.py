"""Faces of a frame: model inputs, detectors, and the check that they still see."""
