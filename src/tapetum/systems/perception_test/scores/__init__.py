"""The six scores of the Perception Test, one file a task."""
