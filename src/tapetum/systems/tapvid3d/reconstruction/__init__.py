"""Camera motion and static points from 2D tracks: two views, more views, bundle adjustment."""
