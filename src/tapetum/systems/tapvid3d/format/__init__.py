"""Files of TAPVid-3D: clips, depth, frames, folders, and checks."""
