"""Runs on sequences: classes for each or for each step, the next symbol of a text, labels without places."""
