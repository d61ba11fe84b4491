"""TAPVid-3D (arXiv 2407.05921) made from its three raw sources: Aria Digital Twin, Waymo Open (DriveTrack), Panoptic Studio.

Each source has a file with its stages (`adt`, `drivetrack`, `pstudio`) and one that reads its raw files (`aria`, `waymo`,
`gaussians`). All stages are functions of numpy arrays.

What the public code states is followed; what is known of the paper by memory alone is marked "recalled" where it is used.
"""
