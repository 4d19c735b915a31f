"""Boxes: what the output of a detector means, and how well found boxes meet true ones."""
