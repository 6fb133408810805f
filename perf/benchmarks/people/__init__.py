"""How much of a chosen person is seen, and whether anybody else is, where people meet."""
