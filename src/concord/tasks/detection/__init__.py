"""What the output of a detector means: heads, their losses, decoding, suppression and fusion of boxes."""
