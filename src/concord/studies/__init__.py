"""A grid of runs: cells, presets, processes, the figures of a study."""
