"""Worlds for policies: a drawn one in pure NumPy, and simulators of the extra `[robot]`. Imports none by itself."""
