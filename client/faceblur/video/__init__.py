"""Video files: decoded, encoded and remuxed with exact times. Knows no detector."""
