"""TAPVid-3D (arXiv 2407.05921) made from its three raw sources: Aria Digital Twin, Waymo Open (DriveTrack), Panoptic Studio.

Each source has a file with its stages (`adt`, `drivetrack`, `pstudio`) and one that reads its raw files (`aria`, `waymo`,
`gaussians`). All stages are functions of numpy arrays.

This follows the public code; details of the paper known only from memory are marked "recalled".
"""
