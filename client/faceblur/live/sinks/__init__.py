"""Where masked frames go."""
