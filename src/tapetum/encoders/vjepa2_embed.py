"""Vectors of pieces of videos by V-JEPA 2 (arXiv 2506.09985): as many frames as it learned from, 64 at 4 a second: 16 seconds.

A video's last piece has the frames that are left, with the last one repeated where they fill no tubelet.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from tapetum.core.devices import full_precision
from tapetum.encoders.embed import EmbeddedPiece, EncoderEmbedder, check_not_sound, is_image
from tapetum.encoders.features import check_finite
from tapetum.video import Video, open_video
from tapetum.video.read import label_of

if TYPE_CHECKING:
    from tapetum.encoders.vjepa2 import VJEPA2


class ClipEmbedder(EncoderEmbedder):
    """Makes vectors of images, and of pieces of videos: the pooled vectors of V-JEPA 2."""

    encoder: "VJEPA2"
    takes_videos = True

    def pieces(self, path: Path | Video) -> Iterator[EmbeddedPiece]:
        """Make the pieces of a file; those of a video are looked at one by one, as many prepared ones fill the memory.

        Raises BadInput if it cannot be read, or is sound alone.
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
        """Compute a vector for each image; those of videos were computed with the pieces."""
        if "video" in pieces[0].inputs:
            return np.stack([piece.inputs["video"].numpy() for piece in pieces])
        return super().embed(pieces)
