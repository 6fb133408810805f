"""How well a model finds faces, and what is good enough."""
