"""How files of the localiser are known. Imports no torch."""

from tapetum.hub.registry import Weights

PUBLISHED: tuple[Weights, ...] = ()
"""What `tapetum weights list` names of these: nothing."""

HEADERS = {"localiser": "tapetum.systems.perception_test.localiser.weights:load"}
"""Entry in the header of a safetensors file to what loads it."""
