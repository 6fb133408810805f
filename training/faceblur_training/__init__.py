"""Train and evaluate YOLOv5-face."""
