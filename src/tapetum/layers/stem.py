"""Images to tokens, and videos to tubelets, by convolutions.

Source: Early Convolutions Help Transformers See Better (arXiv 2106.14881): in the place of a linear layer on patches, 3x3
convolutions of stride 2 with batch norm and ReLU, whose channels double as the image halves, then a 1x1 convolution.

    patch 16, width 256:   image -> 32 -> 64 [blocks] -> 128 [blocks] -> 256 -> 1x1 -> tokens

A video's frames go through the convolutions one by one; the last, 1x1, layer sees the frames of a tubelet together.

Differs from the paper: residual blocks (arXiv 1512.03385) may stand between the halvings; the paper's stem has as many
parameters as one block of the transformer, this one as many as its settings make it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.patches import grid_of, inflate


class ResidualConvolutions(nn.Module):
    """x + two 3x3 convolutions of it, each with batch norm, and ReLU."""

    def __init__(self, channels: int):
        super().__init__()
        self.first, self.second = (nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2))
        self.first_norm, self.second_norm = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.second_norm.weight)  # the block begins as the identity

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        found = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(found)))


class ConvolutionalStem(nn.Module):
    """Convolutions that make an image's patches of `patch` pixels (a power of two) into cells of `width` channels."""

    def __init__(self, patch: int, width: int, blocks: int = 0):
        super().__init__()
        self.patch = patch
        halvings = patch.bit_length() - 1
        layers: list[nn.Module] = []
        before = 3
        for level in range(halvings):
            channels = width >> (halvings - 1 - level)
            layers += [nn.Conv2d(before, channels, 3, 2, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
            if 0 < level < halvings - 1:
                layers += [ResidualConvolutions(channels) for _ in range(blocks)]
            before = channels
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, width, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b rows columns width"]:
        """Raises BadInput where patches do not divide the images."""
        grid_of((images.shape[2], images.shape[3]), (self.patch, self.patch))
        # Channels last: of the layouts, the one that the CPU's bfloat16 convolutions are fast in.
        return self.layers(images.contiguous(memory_format=torch.channels_last)).permute(0, 2, 3, 1)


class TubeletStem(nn.Module):
    """The same convolutions on each frame of a video; the last layer makes a tubelet of (frames, rows, columns) a cell."""

    def __init__(self, patch: tuple[int, int, int], width: int, blocks: int = 0):
        super().__init__()
        self.patch = patch
        *layers, last = ConvolutionalStem(patch[1], width, blocks).layers
        self.layers = nn.Sequential(*layers)
        self.last = nn.Conv3d(width, width, (patch[0], 1, 1), (patch[0], 1, 1))
        self.inflate(last)

    @torch.no_grad()
    def inflate(self, last: nn.Module) -> None:
        """Set the last layer from that of an image's stem: a video that stands still gives what its image gave."""
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        assert self.last.bias is not None
        self.last.weight.copy_(inflate(last.weight, self.patch[0], "average"))
        self.last.bias.copy_(last.bias)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b frames rows columns width"]:
        """Raises BadInput where tubelets do not divide the video."""
        grid_of((video.shape[2], video.shape[3], video.shape[4]), self.patch)
        frames = video.movedim(2, 1).flatten(0, 1).to(self.last.weight.dtype)
        cells = self.layers(frames.contiguous(memory_format=torch.channels_last))
        return self.last(cells.unflatten(0, (len(video), -1)).movedim(1, 2)).movedim(1, -1)
