"""Embeddings of images, recordings and videos by the processor of a HiP network.

The vector of a piece is the mean of the processor's latents, which classes are read from in fine-tuning too
(`hip.classes.HipClassifier`). A piece is an image; or as much of a recording or a video as the network takes at a time, one
piece after the other. A network that knows images but no video looks at the frame in the middle of every second.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor

from tapetum.core.devices import full_precision
from tapetum.core.errors import BadInput
from tapetum.data.media import window
from tapetum.encoders.embed import EmbeddedPiece, frames_of
from tapetum.encoders.features import check_finite
from tapetum.systems.hip.config import Modality, Preparation
from tapetum.systems.hip.model import Hip
from tapetum.video import Video, open_video
from tapetum.video.images import IMAGES
from tapetum.video.read import label_of
from tapetum.video.sound import has_sound, read_sound


class HipEmbedder:
    """A network that makes vectors of files: a `tapetum.encoders.embed.Embedder`. An input of a piece is (n, c)."""

    def __init__(self, model: Hip):
        """Raises BadInput for a network whose file does not say how its inputs were prepared, or that has none it can read."""
        known = [name for name in ("image", "video", "audio") if name in model.modalities]
        lacking = [name for name in known if name not in model.preparations]
        if not known or lacking:
            raise BadInput(
                f"the network has the modalities {', '.join(model.modalities)}, and does not say how files become the numbers "
                "of image, video or audio; give one that tapetum train hip made"
            )
        self.model, self.takes_videos = model.eval(), "video" in known

    def pieces(self, path: Path | Video) -> Iterator[EmbeddedPiece]:
        """Yield the pieces of a file. Raises BadInput: it cannot be read, or has nothing that the network knows."""
        knows = self.model.modalities
        if len(path) == 1 if isinstance(path, Video) else path.suffix.lower() in IMAGES:
            if "image" not in knows:
                raise BadInput(f"{label_of(path)} is an image, and the network knows {', '.join(knows)} only")
            yield from self._frames(path)
            return
        sound = isinstance(path, Path) and "audio" in knows and has_sound(path)
        if "video" in knows:
            yield from self._clips(path, sound)
        elif sound and isinstance(path, Path):
            yield from self._sounds(path)
        elif "image" in knows:
            yield from self._frames(path)
        else:
            raise BadInput(f"{label_of(path)} has no sound, and the network knows {', '.join(knows)} only")

    @full_precision()
    def embed(self, pieces: Sequence[EmbeddedPiece]) -> Float32[np.ndarray, "n c"]:
        """Embed each piece as a vector; all must have the same modalities."""
        inputs = {name: torch.stack([piece.inputs[name] for piece in pieces]) for name in pieces[0].inputs}
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            out = self.model({name: value.to(device) for name, value in inputs.items()}, decode=())
            vectors = out.latents[self.model.config.processor].mean((1, 2))
        return check_finite(vectors.float().cpu()).numpy()

    def _frames(self, path: Path | Video) -> Iterator[EmbeddedPiece]:
        for start, stop, frame in frames_of(path):
            yield EmbeddedPiece(label_of(path), start, stop, {"image": self.prepare(frame)})

    def _known(self, name: str) -> tuple[Modality, Preparation]:
        return self.model.modalities[name], self.model.preparations[name]

    def prepare(self, frame: np.ndarray, name: str = "image") -> Tensor:
        """Prepare a frame, uint8 (h, w, 3), as the network takes it."""
        modality, preparation = self._known(name)
        height, width = modality.shape[-2:]
        box = window(frame.shape[0], frame.shape[1], (height, width), None, 0.08)
        small = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR, box, reducing_gap=3.0)
        if modality.channels == 1:
            small = small.convert("L")
        return _prepared(np.asarray(small).reshape(-1, modality.channels), preparation)

    def _sounds(self, path: Path) -> Iterator[EmbeddedPiece]:
        modality, preparation = self._known("audio")
        sample_rate, count = round(preparation.sample_rate or 0), modality.length
        samples = read_sound(path, sample_rate)
        if not len(samples):
            raise BadInput(f"{path} holds no sound that can be decoded; get it again")
        for start in range(0, len(samples), count):
            part = samples[start : start + count]
            stop = (start + len(part)) / sample_rate
            yield EmbeddedPiece(str(path), start / sample_rate, stop, {"audio": self._sound(part)})

    def _sound(self, samples: np.ndarray) -> Tensor:
        modality, preparation = self._known("audio")
        return _prepared(np.pad(samples, (0, modality.length - len(samples)))[:, None], preparation)

    def _clips(self, path: Path | Video, sound: bool) -> Iterator[EmbeddedPiece]:
        modality, preparation = self._known("video")
        frame_rate, count = preparation.sample_rate or 1.0, modality.shape[0]
        with open_video(path) as video:
            times = video.timestamps - video.timestamps[0]
            lasts, start = float(times[-1]) + 1 / video.frame_rate, 0.0
            heard, hertz = np.zeros(0, np.float32), 0
            if sound and isinstance(path, Path):
                hertz = round(self._known("audio")[1].sample_rate or 0)
                heard = read_sound(path, hertz)
            while start < lasts:
                stop = min(lasts, start + count / frame_rate)
                inputs = {"video": self._clip(video, times, start, frame_rate, count)}
                if sound:
                    first = round(start * hertz)
                    inputs["audio"] = self._sound(heard[first : first + self._known("audio")[0].length])
                yield EmbeddedPiece(label_of(path), start, stop, inputs)
                start += count / frame_rate

    def _clip(self, video: Video, times: np.ndarray, start: float, frame_rate: float, count: int) -> Tensor:
        moments = start + np.arange(count) / frame_rate
        frames = video[np.searchsorted(times, moments + 1e-6, side="right") - 1]
        return torch.cat([self.prepare(frame, "video") for frame in frames])


def _prepared(rows: np.ndarray, how: Preparation) -> Tensor:
    values = (rows.astype(np.float32) - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    return torch.from_numpy(values.astype(np.float32))
