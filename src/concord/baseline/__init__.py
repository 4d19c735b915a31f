"""Classifiers that need no network: what a network has to beat, with what each of them costs."""
