"""Actions and sounds found in time, by a small network in the manner of ActionFormer (arXiv 2202.07925)."""
