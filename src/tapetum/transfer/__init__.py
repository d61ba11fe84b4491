"""What is done with features: nearest neighbours, probes, segmentation heads. Imports no torch by itself."""
