"""Fields of a sample: bytes to values and back, by the ending of their name.

    ending                value
    jpg jpeg png webp     uint8 (h, w, 3), RGB, as stored (not turned by EXIF), alpha dropped
    png, grey or palette  (h, w): grey values or palette indices, uint8, or uint16 of 16-bit grey: masks, depth
    cls id                int
    txt                   str
    json                  what it holds
    npy, npz              array; dict of arrays
    wav flac              Sound: float32 (n, channels) in -1..1, and the rate
    all others            bytes, such as mp4

A name may have several endings (`left.png`); the last one counts. Nothing runs code that comes with the data: pickles (pkl,
pickle, pyd, pt, pth) stay bytes, and object arrays are refused. The content says which image format it is.

Source: the endings of WebDataset (github.com/webdataset/webdataset), which unpickles some and turns every image to RGB.
"""

import io
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float32
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.files import writable
from tapetum.video.types import refuse_huge

if TYPE_CHECKING:
    from av import AudioFrame

IMAGES = ("jpg", "jpeg", "png", "webp")
"""Endings of images that are decoded."""


class Sound(NamedTuple):
    """Samples of a wav or flac file."""

    samples: Float32[np.ndarray, "n channels"]
    """In -1..1; integers are divided by the magnitude of their least value."""
    sample_rate: int
    """Samples a second."""


def decode(ending: str, data: bytes, where: str) -> Any:
    """Decode the value of a field. Raises BadInput that names `where` for damaged data."""
    decoder = _DECODERS.get(last(ending))
    if decoder is None:
        return data
    try:
        return decoder(data)
    except Exception as error:  # decoders raise whatever damage makes them stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{where} cannot be decoded as {last(ending)} ({reason}); replace it or leave it out") from error


def encode(ending: str, value: Any) -> bytes:
    """Encode the bytes of a field: bytes as they are, others without loss. Raises BadInput for a value that has no such
    form."""
    if isinstance(value, bytes):
        return value
    try:
        return _ENCODERS[last(ending)](value)
    except Exception as error:
        kind = f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip()
        raise BadInput(f"{kind} cannot be stored as {ending}; give the bytes of such a file") from error


def last(ending: str) -> str:
    """Split off the last of several endings, which says how to decode.

    >>> last("left.png")
    'png'
    """
    return ending.rpartition(".")[2]


def _rgb(data: bytes) -> np.ndarray:
    with _image(data) as image:
        return np.asarray(image.convert("RGB"))


def _png(data: bytes) -> np.ndarray:
    with _image(data) as image:
        if image.mode in ("L", "P"):
            return np.asarray(image)
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8)
        if image.mode.startswith("I"):
            return np.asarray(image).astype(np.uint16)
        return np.asarray(image.convert("RGB"))


def _image(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    refuse_huge("it", *image.size)
    return image


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def _sound(data: bytes) -> Sound:
    import av

    name = "flac" if data.startswith(b"fLaC") else "wav"
    promised = 8 + int.from_bytes(data[4:8], "little")
    if name == "wav" and len(data) + 1 < promised < 1 << 32:  # FFmpeg takes what is there; some writers leave out a last zero
        raise ValueError(f"{len(data)} of {promised} bytes are there")
    with av.open(io.BytesIO(data), mode="r", format=name) as container:
        stream = container.streams.audio[0]
        parts = [_samples(frame) for frame in container.decode(stream)]
        nothing = np.zeros((0, stream.codec_context.channels), np.float32)
        return Sound(np.concatenate([nothing, *parts]), stream.codec_context.sample_rate)


def _samples(frame: "AudioFrame") -> Float32[np.ndarray, "n channels"]:
    raw = frame.to_ndarray()
    raw = raw.T if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels)
    if raw.dtype.kind == "f":
        return raw.astype(np.float32)
    half = 2.0 ** (8 * raw.dtype.itemsize - 1)
    return ((raw - half if raw.dtype.kind == "u" else raw) / half).astype(np.float32)


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    **dict.fromkeys(IMAGES, _rgb),
    "png": _png,
    "cls": int,
    "id": int,
    "txt": lambda data: data.decode(),
    "json": json.loads,
    "npy": lambda data: np.lib.format.read_array(io.BytesIO(data), allow_pickle=False),
    "npz": _arrays,
    "wav": _sound,
    "flac": _sound,
}


def _written(write: Callable[..., Any]) -> Callable[[Any], bytes]:
    def encoder(value: Any) -> bytes:
        file = io.BytesIO()
        write(file, value)
        return file.getvalue()

    return encoder


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "cls": lambda value: b"%d" % value.__index__(),
    "id": lambda value: b"%d" % value.__index__(),
    "txt": lambda value: writable(value).encode(),
    "json": lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace"),
    "npy": _written(lambda file, value: np.save(file, np.asarray(value), allow_pickle=False)),
    "npz": _written(lambda file, value: np.savez(file, allow_pickle=False, **value)),
    "png": _written(lambda file, value: Image.fromarray(value).save(file, "png")),
}
