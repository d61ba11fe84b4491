"""Cache of the masks of whole images: each is computed once per copy of the discovery network, and looked up until the next.

    image --resized whole--> discovery network --k-means--> ids --stored--> warped to both views, in every epoch

So most steps need no forward pass of the discovery network, which is what hard copies make possible (Odin, arXiv 2203.08777:
masks are computed anew after a copy). DetCon stores the masks of whole images too (arXiv 2103.10957, section 3.1).

A mask depends on the copy's weights, the image and the run's seed alone: images are computed one by one, and batch norms use
their running statistics. So a run that goes on from a checkpoint computes the same masks again, to the bit, with none of the
cache in the checkpoint. It is in the memory of each process: a byte for each cell, 3 kB for an image of 224 pixels.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.data.samples import sample_generator
from tapetum.systems.odin.model import Odin
from tapetum.systems.odin.sources import MaskSource
from tapetum.train.process_group import is_sharded


class MaskCache:
    """Ids of whole images by their number in the data, of one copy of the discovery network."""

    def __init__(self, seed: int):
        """`seed` is the run's, from which k-means begins."""
        self.seed = seed
        self._ids: dict[int, Tensor] = {}
        self._copy: tuple[Odin | None, int] = None, 0
        """The discovery network, and how many batches had been learned from when it was copied."""

    def look_up(
        self, source: MaskSource, network: Odin | None, images: Float[Tensor, "b 3 h w"], numbers: Sequence[int]
    ) -> Int[Tensor, "b h2 w2"]:
        """Look up the ids of whole prepared images, or compute them by `source` where `network` has not seen them yet.

        Raises BadInput where the network's weights are shared out over processes, which lack different images.
        """
        self._forget_older_copies(network)
        for image, number in zip(images, numbers, strict=True):
            if number not in self._ids:
                self._ids[number] = self._compute(source, image[None], number)
        return torch.stack([self._ids[number] for number in numbers]).to(images.device, torch.int64)

    def _compute(self, source: MaskSource, image: Tensor, number: int) -> Tensor:
        seed = int(sample_generator(self.seed, number).integers(2**32))
        ids = source(image, None, torch.Generator(image.device).manual_seed(seed))[0]
        return ids.to("cpu", torch.uint8 if source.regions <= 256 else torch.int32)

    def _forget_older_copies(self, network: Odin | None) -> None:
        if network is not None and any(is_sharded(parameter) for parameter in network.parameters()):
            raise BadInput("cached masks need the whole discovery network in every process; give --parallel ddp")
        batches = 0
        if network is not None:  # its projector's norm counts them, which the copy has with the weights
            counter = network.projector[1].num_batches_tracked
            assert isinstance(counter, Tensor)
            batches = int(counter)
        if (network, batches) != self._copy:
            self._ids.clear()
            self._copy = network, batches
