"""Baselines of the six tasks of the Perception Test; each makes predictions in the official form."""
