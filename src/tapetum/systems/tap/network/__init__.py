"""The network of TAPIR: features, matching, refinement, and the second pass."""
