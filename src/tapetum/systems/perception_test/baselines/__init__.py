"""What answers the six tasks of the Perception Test without being made for it; each gives the official form of predictions."""
