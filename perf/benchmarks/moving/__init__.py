"""How much of people a fixed view masks, and of what is nobody."""
