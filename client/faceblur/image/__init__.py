"""Image files: decoded, encoded, stripped of metadata. Knows no detector."""
