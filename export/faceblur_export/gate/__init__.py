"""The accuracy gate that every faster variant of a model must pass."""
