"""Headers of files of long-video encoders. Imports no torch.

The authors of LongViViT and MC-ViT released no weights.
"""

from tapetum.hub.registry import Weights

PUBLISHED: tuple[Weights, ...] = ()

HEADERS = {"longvideo": "tapetum.systems.longvideo.weights:load"}
