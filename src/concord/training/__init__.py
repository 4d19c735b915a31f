"""The loop, evaluation, optimiser and schedule, run folder, checkpoints."""
