"""Cameras on the page: the one of the computer, and those of the network, masked."""
