"""Cameras shared out among several services, so that each runs in exactly one of them."""
