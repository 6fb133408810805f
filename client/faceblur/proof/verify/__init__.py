"""Whether a face still shows in a result."""
