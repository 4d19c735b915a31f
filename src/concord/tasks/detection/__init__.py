"""Detection: boxes with a class and a score."""
