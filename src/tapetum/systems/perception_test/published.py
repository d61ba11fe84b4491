"""Headers of the localiser's files. Imports no torch."""

from tapetum.hub.registry import Weights

PUBLISHED: tuple[Weights, ...] = ()
"""Entries of `tapetum weights list`: none."""

HEADERS = {"localiser": "tapetum.systems.perception_test.localiser.predict:load"}
"""Entry in the header of a safetensors file to what loads it."""
