"""How many cameras one machine carries, and how well they keep their pace."""
