"""Weights of Odin known by name, and how its files are known. Imports no torch."""

from tapetum.hub.registry import Weights

PUBLISHED: tuple[Weights, ...] = ()
"""What `tapetum weights list` names of these: nothing yet; the authors released none."""

HEADERS = {"odin": "tapetum.odin.weights:load"}
"""Entry in the header of a safetensors file to what loads it."""
