"""TAPVid-3D (arXiv 2407.05921): tracking any point in metres. The benchmark, its makers and baselines; no torch by itself."""
