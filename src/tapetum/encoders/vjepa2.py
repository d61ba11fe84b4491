"""V-JEPA 2's video encoder (arXiv 2506.09985): a vision transformer on tubelets with rotary positions.

    video -> tubelets of 2 frames x 16 x 16 pixels -> blocks -> norm -> tokens (t * h * w) -> their mean

A head's channels are split into three equal parts, for time, row and column, and a few unused ones. In each part neighbouring
channels are swapped as for a rotation, but their angles use two different frequencies, f[2i mod h] and f[2i + 1 mod h]
of the h = part / 2 available ones: this is not a rotation, but the published weights require it.

As an `Encoder` it takes images, each as a video of one frame, repeated to fill a tubelet; `watch` takes videos.

Differs from the paper: the predictor and the masks of training are not part of an encoder. The paper pools by attention, with
a layer per task; the pooled vector here is the mean of the tokens.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput
from tapetum.encoders.config import Preprocessing
from tapetum.encoders.embed import EmbeddedPiece, EncoderEmbedder, check_not_sound, is_image
from tapetum.encoders.features import Encoder, Features, check_finite
from tapetum.encoders.vjepa2_config import VJEPA2Config
from tapetum.layers.patches import Rotation, VideoTubelets
from tapetum.layers.transformer import Attention, Block, Mlp, start_linear
from tapetum.video import Video, open_video
from tapetum.video.read import label_of

_WAVELENGTH = 10_000.0


@dataclass(frozen=True)
class VJEPA2Features:
    """What an encoder sees in a batch of videos."""

    tokens: Float[Tensor, "b n d"]
    """After the last norm, frame by frame and row by row."""
    grid: tuple[int, int, int]
    """Tubelets along time, rows and columns."""
    pooled: Float[Tensor, "b d"]
    """One vector a video: the mean of its tokens."""


torch.export.register_dataclass(VJEPA2Features)


def video_rotation(grid: tuple[int, int, int], head_width: int, device: torch.device | None = None) -> Rotation:
    """Compute the factors on queries and keys for a grid of (time, rows, columns), for heads of `head_width`."""
    part = 2 * (head_width // 3 // 2)
    speed = _WAVELENGTH ** -(torch.arange(part // 2, device=device) / (part / 2))
    places = torch.cartesian_prod(*(torch.arange(side, dtype=torch.float32, device=device) for side in grid))  # (n, 3)
    angles = (places[:, :, None] * speed).repeat(1, 1, 2).flatten(1)  # each part: all frequencies, and all once more
    angles = torch.cat((angles, angles.new_zeros(len(angles), head_width - 3 * part)), 1)
    sin = angles.sin()
    sin[:, ::2] *= -1
    return Rotation(angles.cos(), sin, pairs=True)


class VJEPA2(Encoder):
    """V-JEPA 2's encoder. For images it has one map, at patch resolution."""

    config: VJEPA2Config

    def __init__(self, config: VJEPA2Config, preprocessing: Preprocessing):
        super().__init__(config, preprocessing)
        width = self.width = config.width
        self.map_channels, self.strides = (width,), (config.patch,)
        self.tubelets = VideoTubelets((config.tubelet, config.patch, config.patch), width)
        self.blocks = nn.ModuleList(
            Block(
                Attention(width, config.heads, bias=config.qkv_bias),
                Mlp(width, config.mlp_width),
                self._norm,
                width=width,
            )
            for _ in range(config.depth)
        )
        self.norm = self._norm()
        self.head = nn.Linear(width, config.classes) if config.classes else None
        self.apply(start_linear)

    def _norm(self) -> nn.LayerNorm:
        return nn.LayerNorm(self.config.width, eps=self.config.norm_eps)

    def watch(self, videos: Float[Tensor, "b t 3 h w"]) -> VJEPA2Features:
        """Encode videos of prepared frames.

        A single frame is repeated to a tubelet. Raises BadInput if tubelets do not divide the video.
        """
        if not isinstance(videos, Tensor) or videos.ndim != 5:
            shown = tuple(videos.shape) if isinstance(videos, Tensor) else type(videos).__name__
            raise BadInput(f"videos are {shown}; give floats (videos, frames, 3, rows, columns) of prepared frames")
        frames = self.checked(videos.flatten(0, 1)).unflatten(0, videos.shape[:2])
        if frames.shape[1] == 1:
            frames = frames.expand(-1, self.config.tubelet, -1, -1, -1)
        x = self.tubelets(frames.transpose(1, 2))
        grid = (int(x.shape[1]), int(x.shape[2]), int(x.shape[3]))
        x = x.flatten(1, 3)
        rotation = video_rotation(grid, self.config.width // self.config.heads, x.device)
        for block in self.blocks:
            x = block(x, rotary=rotation)
        x = self.norm(x)
        return VJEPA2Features(tokens=x, grid=grid, pooled=x.mean(1))

    def forward(self, images: Float[Tensor, "b 3 h w"]) -> Features:
        """Encode prepared images, each as a video of one frame. Raises BadInput if the patches do not divide them."""
        features = self.watch(self.checked(images)[:, None])
        grid = features.grid[1:]
        return Features(
            tokens=features.tokens, grid=grid, pooled=features.pooled, maps=(features.tokens.mT.unflatten(-1, grid),)
        )

    def embedder(self) -> "ClipEmbedder":
        """Make the embedder, which computes vectors of images and of pieces of videos; see `tapetum.encoders.vjepa2`."""

        return ClipEmbedder(self)

    def adapter_addresses(self) -> tuple[str, ...]:
        """List the names of every block's attention and MLP, in order: `blocks.0.attention`, `blocks.0.mlp`, ..."""
        return tuple(f"blocks.{i}.{part}" for i in range(self.config.depth) for part in ("attention", "mlp"))


class ClipEmbedder(EncoderEmbedder):
    """Computes vectors of images, and of pieces of videos: the pooled vectors of V-JEPA 2."""

    encoder: "VJEPA2"
    takes_videos = True

    def pieces(self, path: Path | Video) -> Iterator[EmbeddedPiece]:
        """Make the pieces of a file; those of a video are encoded one by one, because many prepared ones fill the memory.

        Raises BadInput if it cannot be read, or has only sound.
        """
        if is_image(path):
            yield from super().pieces(path)
            return
        check_not_sound(path, "images and videos")
        config = self.encoder.config
        with open_video(path) as video:
            times = video.timestamps - video.timestamps[0]
            lasts, start = float(times[-1]) + 1 / video.frame_rate, 0.0
            while start < lasts - 1e-6:
                stop = min(lasts, start + config.frames / config.frame_rate)
                filled = math.ceil((stop - start) * config.frame_rate / config.tubelet - 1e-6)  # tubelets
                moments = start + np.arange(filled * config.tubelet) / config.frame_rate
                frames = video[np.searchsorted(times, moments + 1e-6, side="right") - 1]
                vector = self._look(torch.stack([self.prepare(frame) for frame in frames]))
                yield EmbeddedPiece(label_of(path), start, stop, {"video": vector})
                start = stop

    @full_precision()
    @torch.inference_mode()
    def _look(self, frames: Float[Tensor, "t 3 H W"]) -> Float[Tensor, " d"]:
        parameter = next(self.encoder.parameters())
        return check_finite(self.encoder.watch(frames[None].to(parameter.device, parameter.dtype)).pooled[0].float().cpu())

    def embed(self, pieces: Sequence[EmbeddedPiece]) -> Float32[np.ndarray, "n c"]:
        """Compute a vector for each image; those of videos were already computed with the pieces."""
        if "video" in pieces[0].inputs:
            return np.stack([piece.inputs["video"].numpy() for piece in pieces])
        return super().embed(pieces)
