"""The Triton Inference Server: its process, the client, and what travels between them."""
