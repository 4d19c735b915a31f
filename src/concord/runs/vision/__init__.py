"""Runs of masks and of boxes."""
