"""What is masked (zones, times, policy) and how it is drawn."""
