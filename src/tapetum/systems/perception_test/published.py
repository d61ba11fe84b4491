"""Headers of the localiser's files. Imports no torch."""

from tapetum.hub.registry import Weights

PUBLISHED: tuple[Weights, ...] = ()

HEADERS = {"localiser": "tapetum.systems.perception_test.localiser.predict:load"}
