"""One run: its configuration and folder; train, resume, evaluate, predict, export, attack."""
