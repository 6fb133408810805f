"""Ways to send images to a server."""
