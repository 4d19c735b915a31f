"""Networks of first principles in plain Python: the standard library only."""
