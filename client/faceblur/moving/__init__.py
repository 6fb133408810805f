"""What differs from the background of a view that does not move; knows no detector."""
