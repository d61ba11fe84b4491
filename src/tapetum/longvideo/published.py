"""Weights of long-video encoders known by name, and how their files are known. Imports no torch."""

from tapetum.hub.registry import Weights

PUBLISHED: tuple[Weights, ...] = ()
"""What `tapetum weights list` names of these: nothing yet; the authors released none."""

HEADERS = {"longvideo": "tapetum.longvideo.weights:load"}
"""Entry in the header of a safetensors file to what loads it."""
