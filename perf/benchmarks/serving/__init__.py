"""How fast a server detects, with other topologies and many clients."""
