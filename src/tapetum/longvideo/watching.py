"""Watching a video of any length with a `VideoText`, segment by segment, in constant memory but for what the encoder remembers.

Frames are decoded a segment at a time. A video of up to twice the trained length has its positions stretched to it; of a longer
one the positions past the table's end stay at its last moment (`VideoEncoder.start`). A network whose memory is joint sees one
segment, so it is shown as many frames as it was trained on, evenly spread over the video.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from tapetum.encoders.embed import Piece
from tapetum.errors import BadInput
from tapetum.longvideo.towers import VideoText
from tapetum.video import Video, open_video
from tapetum.video.cut import resized


@dataclass(frozen=True)
class Passage:
    """A segment of a video, and what was seen in it."""

    start_s: float
    stop_s: float
    vector: Float32[np.ndarray, " e"]
    """Of length 1, of this segment's tokens; with a memory, these have seen what was before."""
    so_far: Float32[np.ndarray, " e"]
    """Of length 1, of the whole video up to here."""


def frames_at(video: Video, rate: float) -> list[int]:
    """Choose `rate` frames a second, or all where there are fewer."""
    if not rate > 0:
        raise BadInput(f"rate is {rate}; give frames a second, more than 0")
    times = video.timestamps - video.timestamps[0]
    wanted = np.arange(0, times[-1] + 1e-6, 1 / rate)
    return sorted(set(np.minimum(np.searchsorted(times, wanted - 1e-6), len(times) - 1).tolist()))


@torch.inference_mode()
def watch(model: VideoText, video: Video, rate: float = 1.0) -> Iterator[Passage]:
    """Watch a video once, `rate` frames a second, and give its passages in their order."""
    config = model.config.video
    at = frames_at(video, rate)
    times = video.timestamps - video.timestamps[0]
    end = float(times[-1]) + 1 / rate
    if config.memory == "joint":
        chosen = [at[k] for k in np.linspace(0, len(at) - 1, min(config.frames, len(at))).round().astype(int)]
        vector = model.embed_videos(_prepared(model, video[chosen]))[0].float().cpu().numpy()
        yield Passage(0.0, end, vector, vector)
        return
    state = model.video.start(1, len(at) if len(at) <= 2 * config.frames else None)
    for first in range(0, len(at), config.segment_frames):
        numbers = at[first : first + config.segment_frames]
        state, features = model.video.step(state, _prepared(model, video[numbers]))
        tokens, valid = features.tokens[:, 0], features.valid[:, 0]
        own = model.embed_pooled(tokens.sum(1) / valid.sum(1, keepdim=True))
        both = torch.cat([own, model.embed_pooled(features.pooled)]).float().cpu().numpy()
        last = first + len(numbers) >= len(at)
        stop = end if last else float(times[at[first + len(numbers)]])
        yield Passage(float(times[numbers[0]]), stop, both[0], both[1])


def embed_video(model: VideoText, video: Video, rate: float = 1.0) -> Float32[np.ndarray, " e"]:
    """Give the vector of length 1 of a whole video."""
    vector = None
    for passage in watch(model, video, rate):
        vector = passage.so_far
    assert vector is not None
    return vector


@torch.inference_mode()
def embed_words(model: VideoText, texts: Sequence[str]) -> Float32[np.ndarray, "n e"]:
    """Give vectors of length 1 of texts."""
    return model.embed_texts(model.tokens(texts)).float().cpu().numpy()


class VideoEmbedder:
    """Makes a vector for every segment of videos, and for pictures: what `tapetum embed` asks for."""

    def __init__(self, model: VideoText, rate: float = 1.0):
        self.model, self.rate = model.eval(), rate
        self.identity = model.identity()

    def pieces(self, path: Path) -> Iterator[Piece]:
        """Give the passages of a file, which are watched one after the other. Raises BadInput if it cannot be read."""
        with open_video(path) as video:
            if len(video) == 1:
                yield Piece(str(path), None, None, {"image": self.picture(video[0])})
                return
            for passage in watch(self.model, video, self.rate):
                yield Piece(str(path), passage.start_s, passage.stop_s, {"video": torch.from_numpy(passage.vector)})

    @torch.inference_mode()
    def picture(self, frame: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, " e"]:
        """Give the vector of a picture."""
        return self.model.embed_pictures(_prepared(self.model, frame[None])[0])[0].float().cpu()

    def embed(self, pieces: Sequence[Piece]) -> Float32[np.ndarray, "n e"]:
        """Give the vectors, which were made when the pieces were watched."""
        return np.stack([next(iter(piece.inputs.values())).numpy() for piece in pieces])


def _prepared(model: VideoText, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "1 t h w 3"]:
    rows, columns = model.config.video.size
    small = np.stack([resized(frame, columns, rows) for frame in frames])
    parameter = model.log_scale
    return (torch.from_numpy(small).to(parameter.device).float() / 127.5 - 1).to(parameter.dtype)[None]
