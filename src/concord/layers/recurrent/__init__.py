"""Recurrent networks: one scan over time, many cells."""
