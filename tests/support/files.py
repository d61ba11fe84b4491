"""Small real files: images, sound, film, tables."""

import io
import struct
import wave
import zlib
from functools import cache
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tapetum.core.files import whole_file


def make_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def sound(path: Path, value: int, seconds: float = 0.2, sample_rate: int = 4000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(np.full(round(seconds * sample_rate), value, "<i2").tobytes())


def film(path: Path) -> None:
    """Half a second, grey 0, 25, 50, ... 10 frames a second, silence."""
    with av.open(str(path), "w") as out:
        shown, heard = out.add_stream("mpeg4", rate=10), out.add_stream("pcm_s16le", rate=4000, layout="mono")
        shown.width = shown.height = 32
        for k in range(5):
            out.mux(shown.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 25 * k, np.uint8))))
            part = av.AudioFrame.from_ndarray(np.zeros((1, 400), np.int16), "s16", "mono")
            part.sample_rate, part.pts = 4000, 400 * k
            out.mux(heard.encode(part))
        out.mux(shown.encode(None))
        out.mux(heard.encode(None))


def stripes(path: Path, count: int = 64) -> Path:
    """Images of lying (0) or standing (1) stripes, in one parquet file."""
    rng, rows, labels = np.random.default_rng(0), [], []
    for k in range(count):
        wave = np.repeat(((np.arange(8) + rng.integers(4)) // 2 % 2 * 200)[None], 8, 0).astype(np.uint8)
        out = io.BytesIO()
        Image.fromarray(wave if k % 3 % 2 else wave.T).convert("RGB").save(out, "PNG")
        rows.append({"bytes": out.getvalue(), "path": ""})
        labels.append(k % 3 % 2)
    pq.write_table(pa.table({"image": rows, "label": labels}), path)
    return path


@cache
def black_png(side: int) -> bytes:
    """Give a whole square image, black, of one byte a pixel: small as a file, and valid; `side` is in hundreds."""
    squeeze = zlib.compressobj(1)
    rows = bytes(100 * (1 + side))
    body = b"".join(squeeze.compress(rows) for _ in range(side // 100)) + squeeze.flush()

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", size) + part(b"IDAT", body) + part(b"IEND", b"")


def listed(folder: Path) -> list[str]:
    """Give the names in a folder, sorted, without the list of what tapetum wrote there."""
    return sorted(path.name for path in folder.iterdir())


def write(path: str | Path, _: object = None) -> None:
    with whole_file(path) as temporary:
        temporary.write_text("new")
