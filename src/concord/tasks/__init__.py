"""What an output means: loss per sample, the predictions that members compare, scores."""
