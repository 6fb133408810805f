"""A server with a GPU: is it right, how fast is it, and how many cameras does it hold."""
