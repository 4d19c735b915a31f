"""Sequences: languages that a rule makes, synthetic problems, texts, and a user's own files."""
