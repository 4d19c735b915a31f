"""Benchmarks that anyone can run: training, counting and plain Python beside their peers."""
