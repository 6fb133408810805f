"""How recognisable masked faces are."""
