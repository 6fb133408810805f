"""The model card and the record it is written from."""
