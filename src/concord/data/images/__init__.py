"""Labelled images of one size, read from folders, IDX, CIFAR-10, NPZ and scikit-learn's digits."""
