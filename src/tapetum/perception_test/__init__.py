"""The Perception Test: data, six scorers, baselines, submissions. Imports no torch by itself."""
