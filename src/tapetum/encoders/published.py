"""Encoders with weights that have a name."""

LOADERS: dict[str, str] = {}
"""Name to a `module:function` that takes no argument and gives the Encoder with its weights."""
