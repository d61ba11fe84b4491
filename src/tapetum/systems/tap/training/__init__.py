"""Training on exact tracks: clips, losses, task and recipes."""
