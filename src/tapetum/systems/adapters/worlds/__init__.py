"""Worlds in which a policy acts: a painted one in NumPy alone, and simulators of the extra `[robot]`. Imports none by
itself."""
