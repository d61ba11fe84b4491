"""JPEGs that are decoded later: which they are, and that they are the images that Pillow decodes."""

import io
import os
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.data.files import StoredFile, encoded_image, opened_image, stored_file
from tapetum.data.jpegs import EncodedImage, check_decoder, decode_on_device
from tapetum.systems.pretraining.sources import join_sources, read_source

CPU = torch.device("cpu")


def jpeg(mode: str = "RGB", orientation: int = 0, size: tuple[int, int] = (45, 30), **settings: Any) -> bytes:
    """A JPEG of smooth noise, so many columns and rows."""
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC).convert(mode)
    exif, file = Image.Exif(), io.BytesIO()
    if orientation:
        exif[0x0112] = orientation
        settings["exif"] = exif
    image.save(file, "JPEG", **settings)
    return file.getvalue()


def broken_tables(content: bytes) -> bytes:
    """A JPEG whose header can be read, but no pixel: its first Huffman table has more codes than there are."""
    at = content.index(b"\xff\xc4")
    return content[: at + 5] + b"\xff" * 16 + content[at + 21 :]


def encoded(content: bytes) -> EncodedImage | None:
    return encoded_image(StoredFile("x.jpg", content))


@pytest.mark.parametrize(
    "content",
    [
        *(pytest.param(jpeg(orientation=k), id=f"orientation {k}") for k in range(10)),
        pytest.param(jpeg("L"), id="grey"),
        pytest.param(jpeg("L", orientation=6), id="grey, turned"),
        pytest.param(jpeg(progressive=True, subsampling=0), id="progressive"),
        pytest.param(jpeg(subsampling=2, quality=20), id="coarse"),
        pytest.param(jpeg() + b"\0" * 100, id="bytes behind the end"),
    ],
)
def test_they_are_decoded_as_by_pillow(content: bytes) -> None:
    theirs = np.array(opened_image(StoredFile("x.jpg", content), "RGB"))
    image = encoded(content)
    assert image is not None
    assert image.shape == theirs.shape[:2]
    [ours] = decode_on_device([image], CPU)
    assert ours is not None
    assert np.array_equal(ours.movedim(0, -1).numpy(), theirs)


def other_format(name: str) -> bytes:
    file = io.BytesIO()
    more: dict[str, Any] = {"save_all": True, "append_images": [Image.new("RGB", (9, 9))]} if name == "MPO" else {}
    Image.new("RGB", (9, 9), (200, 30, 90)).save(file, name, **more)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(other_format("PNG"), id="png"),
        pytest.param(other_format("MPO"), id="several images"),
        pytest.param(jpeg("CMYK"), id="four channels"),
        pytest.param(jpeg(keep_rgb=True), id="no YCbCr"),
        pytest.param(jpeg()[:-400], id="cut off"),
        pytest.param(b"no image", id="no image"),
        pytest.param(b"", id="empty"),
    ],
)
def test_what_a_device_may_decode_otherwise_is_left_to_pillow(content: bytes) -> None:
    assert encoded(content) is None


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_image_is_left_to_those_that_refuse_it() -> None:
    """Its header says that it has 11,585 x 11,586 pixels; a square of 11,585 is within what is allowed."""
    content = jpeg()
    at = content.index(b"\xff\xc0") + 5  # height and width, of two bytes each
    square, huge = (content[:at] + struct.pack(">HH", height, 11585) + content[at + 4 :] for height in (11585, 11586))
    assert encoded(square) is not None
    assert encoded(huge) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    assert encoded_image(stored_file(tmp_path / "x.jpg")) is None


def test_a_decoder_that_is_not_installed_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.io", None)
    with pytest.raises(MissingExtra, match=r"decoding on the device needs the package torchvision.*tapetum\[decoding\]"):
        check_decoder()


def test_one_that_cannot_be_decoded_takes_no_other_with_it() -> None:
    whole, broken = encoded(jpeg()), encoded(broken_tables(jpeg()))
    assert whole is not None
    assert broken is not None
    with pytest.raises(BadInput):
        opened_image(StoredFile("x.jpg", broken.content), "RGB")
    first, none, last = decode_on_device([whole, broken, whole], CPU)
    assert none is None
    assert first is not None
    assert last is not None
    assert torch.equal(first, last)
    assert decode_on_device([], CPU) == []


def test_a_device_that_gives_another_size_is_not_believed() -> None:
    image = encoded(jpeg())
    assert image is not None
    assert decode_on_device([EncodedImage(image.content, (30, 44), 1)], CPU) == [None]


def test_sources_give_them_by_number(tmp_path: Path) -> None:
    for k, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(jpeg(orientation=6 * k))
        (tmp_path / name / "b.png").write_bytes(other_format("PNG"))
    images: Any = join_sources([read_source(tmp_path / "one"), read_source(tmp_path / "two")]).images
    shapes = [image.shape for image in map(images.encoded, range(4))]
    assert shapes == [(30, 45), (9, 9, 3), (45, 30), (9, 9, 3)]
    assert isinstance(images.encoded(2), EncodedImage)
    decoded = images.parts[1][0]  # from now on it is in the cache
    assert images.encoded(2) is decoded
