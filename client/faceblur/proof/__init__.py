"""Show what a result promises: that nothing was missed, edited or left recognisable."""
