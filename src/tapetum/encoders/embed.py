"""Vectors for files: the interface, whatever the network, and the implementation for image encoders.

Any object from `tapetum.load` can embed files if it has a method `embedder()`, which returns an `Embedder`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from tapetum.core.devices import choose_dtype, full_precision, knows_int8, processor
from tapetum.core.errors import BadInput
from tapetum.encoders.batching import look_by_size
from tapetum.encoders.features import Encoder, check_finite
from tapetum.layers.convolution import Int8Convolution
from tapetum.layers.cpu import speed_up
from tapetum.video import Video, open_video
from tapetum.video.images import IMAGES
from tapetum.video.read import label_of
from tapetum.video.sound import only_sound


@dataclass(frozen=True)
class EmbeddedPiece:
    """What one vector is made of."""

    file: str
    start: float | None
    """Seconds; None for an image."""
    stop: float | None
    inputs: dict[str, Tensor]
    """One prepared example of each modality that the file has and the network knows."""


class Embedder(Protocol):
    """Computes vectors of files."""

    takes_videos: bool
    """Frames of a video are taken together, so that an array (n, h, w, 3) is a video and not n images."""

    def pieces(self, path: Path | Video) -> Iterator[EmbeddedPiece]:
        """Make the pieces of a file, or of a video in memory, which counts as an image if it has one frame.

        Raises BadInput: it cannot be read, or has nothing that the network can use.
        """
        ...

    def prepare(self, frame: UInt8[np.ndarray, "h w 3"]) -> Tensor:
        """Prepare an image as the network expects it."""
        ...

    def embed(self, pieces: Sequence[EmbeddedPiece]) -> Float32[np.ndarray, "n c"]:
        """Compute a vector for each piece; all must have the same modalities."""
        ...


def set_precision(network: object, dtype: str) -> None:
    """Convert an image encoder to float32, bfloat16, float16 or int8; other networks stay as they are.

    With "auto" an encoder that `takes_bfloat16` is converted where its device computes in that natively, in about half the
    time (docs/evidence/named-encoders.md); its vectors keep two to three digits. Raises BadInput as `use_int8`.
    """
    if not isinstance(network, Encoder) or (dtype == "auto" and not network.takes_bfloat16):
        return
    if dtype == "int8":
        return use_int8(network)
    network.to(getattr(torch, choose_dtype(dtype, next(network.parameters()).device)))


_NOISE, _SIDE = 16, 256
"""Images of noise by which ranges are measured, and their rows and columns."""
_WIDER = 1.5
"""By which ranges are widened: photographs go beyond noise (evidence/encoders/precision.json)."""


@torch.inference_mode()
def use_int8(encoder: Encoder) -> None:
    """Let an encoder's convolutions compute in 8 bits, in a third of the time and less (docs/evidence/named-encoders.md).

    The ranges of their inputs are measured on noise whose amplitude falls with its frequency, as that of photographs does; it
    is always the same, so that results depend on the weights alone. Raises BadInput for a network without convolutions that
    batch norms follow, for a GPU, and for processors that have no products of bytes (VNNI).
    """
    if next(encoder.parameters()).device.type != "cpu" or not knows_int8(processor()):
        raise BadInput("int8 needs a CPU that multiplies bytes (VNNI), and this device does not; give bfloat16 or float32")
    fused = {part: Int8Convolution() for part in speed_up(encoder.eval()).modules() if hasattr(part, "fused")}
    for part, convolution in fused.items():
        part.fused = convolution  # pyright: ignore[reportArgumentType, reportAttributeAccessIssue]
    frequency = torch.fft.fftfreq(_SIDE)[:, None].hypot(torch.fft.rfftfreq(_SIDE)[None]).clamp_(min=1 / _SIDE)
    noise = torch.randn(_NOISE, _SIDE, _SIDE, 3, generator=torch.Generator().manual_seed(0))
    noise = torch.fft.irfft2(torch.fft.rfft2(noise, dim=(1, 2)) / frequency[..., None], dim=(1, 2))
    low, high = noise.amin((1, 2), keepdim=True), noise.amax((1, 2), keepdim=True)
    images = encoder.prepare(((noise - low) / (high - low) * 255).round_().to(torch.uint8))
    encoder(images)
    measured = [each for each in fused.values() if each.high > each.low]
    if not measured:
        raise BadInput(
            f"int8 is for convolutions with batch norms, and {type(encoder).__name__} has none; give bfloat16 or float32"
        )
    for each in measured:
        each.low, each.high, each.top, each.measuring = each.low * _WIDER, each.high * _WIDER, each.top * _WIDER, False


def is_image(path: Path | Video) -> bool:
    """Check whether this is an image: by file name, or a video in memory of one frame."""
    return len(path) == 1 if isinstance(path, Video) else path.suffix.lower() in IMAGES


def check_not_sound(path: Path | Video, known: str = "images, as hip-nano does") -> None:
    """Raise BadInput for a file with sound only; `known` lists what the network can use."""
    if isinstance(path, Path) and only_sound(path):
        raise BadInput(
            f"{path} is a recording, and the network knows only {known}; "
            "for sound give a file that tapetum train hip made of recordings"
        )


def frames_of(path: Path | Video) -> Iterator[tuple[float | None, float | None, UInt8[np.ndarray, "h w 3"]]]:
    """Yield start, stop (seconds) and frame of an image (once, with None), or of the middle of every second of a video.

    Raises BadInput if the file cannot be read, or has only sound.
    """
    if is_image(path):
        yield None, None, open_video(path)[0]
        return
    check_not_sound(path)
    with open_video(path) as video:
        times = video.timestamps - video.timestamps[0]
        for second in range(int(times[-1]) + 1):
            yield float(second), second + 1.0, video[int(np.abs(times - second - 0.5).argmin())]


class EncoderEmbedder:
    """Computes vectors of images, and of one frame per second of videos: an encoder's pooled vectors, or those that two towers
    compare with the vectors of texts."""

    takes_videos = False

    def __init__(self, encoder: Encoder):
        self.encoder = speed_up(encoder.eval())

    def pieces(self, path: Path | Video) -> Iterator[EmbeddedPiece]:
        """Make the pieces of a file. Raises BadInput if it cannot be read."""
        for start, stop, frame in frames_of(path):
            yield EmbeddedPiece(label_of(path), start, stop, {"image": self.prepare(frame)})

    def prepare(self, frame: UInt8[np.ndarray, "h w 3"]) -> Float[Tensor, "3 H W"]:
        """Prepare a frame as the network expects it."""
        return self.encoder.prepare(frame[None])[0].cpu()

    @full_precision()
    def embed(self, pieces: Sequence[EmbeddedPiece]) -> Float32[np.ndarray, "n c"]:
        """Compute a vector for each piece; images of one size are batched."""
        parameter = next(self.encoder.parameters())
        images = [piece.inputs["image"][None].to(parameter.device, parameter.dtype) for piece in pieces]
        with torch.inference_mode():
            vectors = look_by_size(images, self.encoder.image_vectors, self.encoder).float().cpu().numpy()
        if vectors.ndim != 2 or not vectors.shape[1]:
            raise BadInput(
                f"{type(self.encoder).__name__} makes vectors of shape {vectors.shape}; return (n, c) with c above 0"
            )
        return vectors


_CLIP_FRAME_RATE = 4.0
"""Frames a second of the videos that V-JEPA 2 learned from."""


class ClipEmbedder(EncoderEmbedder):
    """Computes vectors of images, and of pieces of videos: the mean of the tokens of V-JEPA 2."""

    takes_videos = True

    def __init__(
        self, encoder: Encoder, watch: Callable[[Float[Tensor, "b t 3 h w"]], Float[Tensor, "b n d"]], frames: int, tubelet: int
    ):
        """Make an embedder of pieces of `frames` frames, in tubelets of `tubelet` frames, whose tokens `watch` computes."""
        super().__init__(encoder)
        self.watch, self.frames, self.tubelet = watch, frames, tubelet

    def pieces(self, path: Path | Video) -> Iterator[EmbeddedPiece]:
        """Make the pieces of a file; those of a video are encoded one by one, because many prepared ones fill the memory.

        Raises BadInput if it cannot be read, or has only sound.
        """
        if is_image(path):
            yield from super().pieces(path)
            return
        check_not_sound(path, "images and videos")
        with open_video(path) as video:
            times = video.timestamps - video.timestamps[0]
            lasts, start = float(times[-1]) + 1 / video.frame_rate, 0.0
            while start < lasts - 1e-6:
                stop = min(lasts, start + self.frames / _CLIP_FRAME_RATE)
                tubelets = math.ceil((stop - start) * _CLIP_FRAME_RATE / self.tubelet - 1e-6)
                moments = start + np.arange(tubelets * self.tubelet) / _CLIP_FRAME_RATE
                frames = video[np.searchsorted(times, moments + 1e-6, side="right") - 1]
                vector = self._encode(torch.stack([self.prepare(frame) for frame in frames]))
                yield EmbeddedPiece(label_of(path), start, stop, {"video": vector})
                start = stop

    @full_precision()
    @torch.inference_mode()
    def _encode(self, frames: Float[Tensor, "t 3 H W"]) -> Float[Tensor, " d"]:
        parameter = next(self.encoder.parameters())
        return check_finite(self.watch(frames[None].to(parameter.device, parameter.dtype)).mean(1)[0].float().cpu())

    def embed(self, pieces: Sequence[EmbeddedPiece]) -> Float32[np.ndarray, "n c"]:
        """Compute a vector for each image; those of videos were already computed with the pieces."""
        if "video" in pieces[0].inputs:
            return np.stack([piece.inputs["video"].numpy() for piece in pieces])
        return super().embed(pieces)
