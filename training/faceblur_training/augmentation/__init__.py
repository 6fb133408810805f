"""Training samples: how they are varied, planned and rendered."""
