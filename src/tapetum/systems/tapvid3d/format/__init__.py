"""Files of TAPVid-3D: clips, depth, frames, folders, and what may be wrong with them."""
