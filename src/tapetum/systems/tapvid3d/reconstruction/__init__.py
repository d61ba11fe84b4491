"""The camera's way and static points from 2D tracks: two views, more views, bundle adjustment."""
