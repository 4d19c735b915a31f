"""What torch.nn lacks. One file per family of layers."""
