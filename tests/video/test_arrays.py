"""Arrays, array files, folders of images and still images as videos."""

import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.data.files import StoredFile, opened_image, stored_file
from tapetum.video import open_video


@pytest.fixture
def frames(image) -> np.ndarray:
    return np.stack([image(number, 20, 12) for number in range(12)])


def test_array(frames):
    video = open_video(frames, frame_rate=10)
    assert (len(video), video.height, video.width, video.frame_rate) == (12, 12, 20, 10.0)
    assert np.array_equal(np.stack(list(video)), frames)
    assert np.allclose(video.timestamps, np.arange(12) / 10)
    video[3][:] = 0
    next(iter(video))[:] = 0
    assert np.array_equal(video[:], frames)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_floats_are_scaled(frames, dtype):
    video = open_video((frames / 255).astype(dtype))
    assert np.abs(video[:].astype(int) - frames).max() <= (1 if dtype == np.float16 else 0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_tensor(frames, dtype):
    tensor = torch.from_numpy(frames)
    tensor = tensor if dtype == torch.uint8 else (tensor.float() / 255).to(dtype).requires_grad_()
    assert np.abs(open_video(tensor)[:].astype(int) - frames).max() <= (1 if dtype == torch.bfloat16 else 0)


def test_npy_and_npz(tmp_path, frames):
    np.save(tmp_path / "a.npy", frames)
    np.savez(tmp_path / "one.npz", anything=frames)
    np.savez_compressed(tmp_path / "named.npz", other=np.zeros(3), video=frames)
    for name in ("a.npy", "one.npz", "named.npz"):
        video = open_video(tmp_path / name)
        assert video.name == name
        assert np.array_equal(video[:], frames)
    np.savez(tmp_path / "two.npz", a=frames, b=frames)
    with pytest.raises(BadInput, match="a, b"):
        open_video(tmp_path / "two.npz")


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "jpg"])
def test_folder_in_natural_order(tmp_path, frames, suffix):
    how = {"webp": {"lossless": True}, "jpg": {"quality": 98, "subsampling": 0}}.get(suffix, {})
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"f{number}.{suffix}", **how)
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / ".hidden.png").write_text("not a frame")
    video = open_video(tmp_path, frame_rate=50)
    assert (len(video), video.name, video.frame_rate) == (12, tmp_path.name, 50.0)
    assert np.abs(video[:].astype(int) - frames).max() <= (12 if suffix == "jpg" else 0)
    assert np.array_equal(video[[10, 2]], np.stack([video[10], video[2]]))
    assert video.report.complete


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "I;16"])
def test_image_modes(tmp_path, frames, mode):
    suffix = "tiff" if mode in ("CMYK", "I;16") else "png"
    if mode == "I;16":
        image = Image.fromarray((frames[0][..., 0].astype(np.uint16) << 8) + 77)
    else:
        image = Image.fromarray(frames[0]).convert("L" if mode == "LA" else "RGB").convert(mode)
    image.save(tmp_path / f"still.{suffix}")
    video = open_video(tmp_path / f"still.{suffix}")
    assert (len(video), video.height, video.width) == (1, 12, 20)
    wanted = frames[0][..., :1] if mode == "I;16" else np.asarray(image.convert("RGB"))
    assert np.abs(video[0].astype(int) - wanted).max() <= 1


UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: np.rot90(x),
}
"""What makes a stored image upright, by its EXIF orientation (EXIF 2.32, table of tag 0x0112)."""


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["tiff", "png", "webp"])
def test_all_orientations_in_formats_without_loss(tmp_path, frames, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    files = [tmp_path / f"{k}.{suffix}" for k in range(3)]
    for file, frame in zip(files, frames, strict=False):
        Image.fromarray(frame).save(file, exif=exif, **({"lossless": True} if suffix == "webp" else {}))
    wanted = np.stack([UPRIGHT[orientation](frame) for frame in frames[:3]])
    video = open_video(tmp_path)
    assert (video.height, video.width) == wanted.shape[1:3]
    np.testing.assert_array_equal(video[:], wanted)
    np.testing.assert_array_equal(open_video(files[1])[0], wanted[1])
    np.testing.assert_array_equal(opened_image(StoredFile("a", files[2].read_bytes()), "RGB"), wanted[2])
    np.testing.assert_array_equal(opened_image(stored_file(files[2]), None), wanted[2])


@pytest.mark.parametrize("kind", ["eXIf", "iTXt"])
def test_orientation_after_the_pixels_of_a_png(tmp_path, frames, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = exif.tobytes()[6:]  # without "Exif", two zeros, which only JPEG has
    if kind == "iTXt":
        content = b"XML:com.adobe.xmp" + bytes(5) + b'<x tiff:Orientation="6"/>'
    for k in range(2):
        Image.fromarray(frames[k]).save(tmp_path / f"{k}.png")
    plain = (tmp_path / "1.png").read_bytes()
    chunk = kind.encode() + content
    end = plain.index(b"IEND") - 4
    added = (len(content)).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4)
    (tmp_path / "1.png").write_bytes(plain[:end] + added + plain[end:])
    np.testing.assert_array_equal(open_video(tmp_path / "1.png")[0], np.rot90(frames[1], -1))
    with pytest.raises(BadInput, match=r"1.png is 12x20, but 0.png is 20x12"):
        open_video(tmp_path)
