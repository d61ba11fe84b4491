"""Training of TAPNext on exact tracks: losses, task and recipes."""
