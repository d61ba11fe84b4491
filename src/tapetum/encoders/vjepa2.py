"""V-JEPA 2's video encoder (arXiv 2506.09985): a vision transformer on tubelets with rotary positions.

    video -> tubelets of 2 frames x 16 x 16 pixels -> blocks -> norm -> tokens (t * h * w) -> their mean

A head's channels are split into three equal parts, for time, row and column, and a few unused ones. In each part neighbouring
channels are swapped as for a rotation, but their angles use two different frequencies, f[2i mod h] and f[2i + 1 mod h]
of the h = part / 2 available ones: this is not a rotation, but the published weights require it.

As an `Encoder` it takes images, each as a video of one frame, repeated to fill a tubelet; `watch` takes videos.

Names of its tensors in transformers (VJEPA2Model) are mapped to ours and back. Video classifiers are refused.

Differs from the paper: the predictor and the masks of training are not part of an encoder. The paper pools by attention, with
a layer per task; the pooled vector here is the mean of the tokens.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput
from tapetum.encoders.config import Architecture, Preprocessing
from tapetum.encoders.embed import EmbeddedPiece, EncoderEmbedder, check_not_sound, is_image
from tapetum.encoders.features import Encoder, Features, check_finite
from tapetum.encoders.tables.rows import NameRow, layers
from tapetum.encoders.vit_sizes import VJEPA2Config, clips
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
    takes_bfloat16 = True

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


_DEFAULTS = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "mlp_ratio": 4.0, "patch_size": 16}
_DEFAULTS |= {"tubelet_size": 2, "crop_size": 256, "frames_per_clip": 64, "layer_norm_eps": 1e-6, "qkv_bias": True}
"""Of transformers, for fields that a config leaves out."""


def describe(architecture: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, Mapping[str, Tensor]] | None:
    """Interpret a config given as a dict; None for other kinds of models."""
    if not isinstance(architecture, Mapping) or architecture.get("model_type") != "vjepa2":
        return None
    c = _DEFAULTS | dict(architecture)
    if c.get("hidden_act", "gelu") != "gelu" or not isinstance(c["patch_size"], int) or c.get("in_chans", 3) != 3:
        raise BadInput("this V-JEPA 2 has not GELU, square patches and three channels; tapetum has no such network")
    if any(name.startswith(("vjepa2.", "pooler.", "classifier.")) for name in state):
        raise BadInput("these weights are of a classifier of videos, which tapetum has not; give those of VJEPA2Model")
    config = VJEPA2Config(
        width=c["hidden_size"],
        depth=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        mlp_width=int(c["hidden_size"] * c["mlp_ratio"]),
        patch=c["patch_size"],
        tubelet=c["tubelet_size"],
        image_size=(c["crop_size"], c["crop_size"]),
        frames=c["frames_per_clip"],
        norm_eps=c["layer_norm_eps"],
        qkv_bias=c["qkv_bias"],
    )
    kept = {name: tensor for name, tensor in state.items() if not name.startswith("predictor.")}
    return Architecture(family="vjepa2", config=config, preprocessing=clips(c["crop_size"])), kept


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """Make the table of names for an encoder, or None for another network."""
    if not isinstance(encoder, VJEPA2) or encoder.config.classes:
        return None
    table = layers({"tubelets": "encoder.embeddings.patch_embeddings.proj", "norm": "encoder.layernorm"})
    for i in range(encoder.config.depth):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        turned = {f"{ours}.attention.{part}": f"{theirs}.attention.{part}" for part in ("query", "key", "value")}
        table += layers(turned, encoder.config.qkv_bias)
        table += layers(
            {
                f"{ours}.attention.out": f"{theirs}.attention.proj",
                f"{ours}.attention_norm": f"{theirs}.norm1",
                f"{ours}.mlp_norm": f"{theirs}.norm2",
                f"{ours}.mlp.hidden": f"{theirs}.mlp.fc1",
                f"{ours}.mlp.out": f"{theirs}.mlp.fc2",
            }
        )
    return table
