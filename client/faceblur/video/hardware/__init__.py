"""Decode and encode on a device: what there is, what it is worth, what happens when it fails."""
