"""The files of a visitor: what is wanted of each, what comes of it, and whose turn it is."""
