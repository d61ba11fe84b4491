"""Index of images and films, and search in it."""
