"""Images for training: packed, checked, sampled."""
