"""Images as the network sees them: against TensorFlow (golden), Pillow and the image processors of transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from support.files import black_png
from support.scripts import GOLDEN, script
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma.images import prepare, read_images, spread_frames, strided_frames

MAKER = script("tests/golden/make_paligemma_golden.py")
SIZES, make_image = MAKER.SIZES, MAKER.make_image


@pytest.mark.parametrize("name", SIZES)
def test_as_tensorflow_does_it(name: str):
    height, width, size = SIZES[name]
    frames = make_image(height, width)[None]
    golden = np.load(GOLDEN / "paligemma.npz")
    for way, key in (("reference", "antialias"), ("reference-plain", "plain")):
        levels = ((prepare(frames, size, way)[0].permute(1, 2, 0) + 1) * 127.5).round().numpy()
        assert np.array_equal(levels, golden[f"{name}/{key}"])
    video = prepare(frames, size, "reference-video")[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(video, golden[f"{name}/video"], atol=2e-7)


@pytest.mark.parametrize("key", ["antialias", "plain"])
def test_even_areas_as_tensorflow_does_them(key: str):
    """Where sums are whole numbers but for rounding, cutting shows in which order they were made."""
    golden = np.load(GOLDEN / "paligemma.npz")
    way, lost = ("reference" if key == "antialias" else "reference-plain"), 0
    for (height, width, size), level in MAKER.EVEN.items():
        frames = np.full((1, height, width, 3), level, np.uint8)
        found = ((prepare(frames, size, way)[0, 0] + 1) * 127.5).round().numpy()
        assert np.array_equal(found, golden[f"even {height} {width} {size}/{key}"])
        lost += (found != level).mean()
    assert lost > 0.05 * len(MAKER.EVEN) if key == "antialias" else lost == 0


@pytest.mark.slow
def test_as_transformers_does_it():
    transformers = pytest.importorskip("transformers")
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    for height, width, size in SIZES.values():
        image = Image.fromarray(make_image(height, width))
        options = {"size": {"height": size, "width": size}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
        ours = prepare(np.asarray(image)[None], size, "transformers")
        theirs = SiglipImageProcessorPil(**options)(images=image, return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
        torchvision = transformers.SiglipImageProcessor(**options)(images=image, return_tensors="pt")["pixel_values"]
        assert (ours - torchvision).abs().max() < 1.5 / 127.5


def test_a_square_of_its_own_size_is_as_it_was():
    frames = make_image(28, 28)[None]
    for way in ("reference", "reference-plain", "reference-video", "transformers"):
        back = ((prepare(frames, 28, way) + 1) * 127.5).round().permute(0, 2, 3, 1)
        assert (back.numpy() == frames).all()


def test_frames_of_a_video():
    assert spread_frames(16, 16) == list(range(16))
    assert spread_frames(5, 1) == [2]
    assert strided_frames(1000, 3, 70, first=5) == [5, 75, 145]
    assert strided_frames(1, 3, 9) == [0, 0, 0]
    with pytest.raises(BadInput, match="asked for 0 frames of a video of 5"):
        spread_frames(5, 0)
    with pytest.raises(BadInput, match="frames begin at 9"):
        strided_frames(5, 2, 1, first=9)
    clip = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)
    assert read_images(clip, 5)[:, 0, 0, 0].tolist() == [1, 3, 5, 7, 9]


def test_images_of_any_kind_are_read(tmp_path: Path):
    rgb = make_image(20, 30)
    Image.fromarray(rgb).save(tmp_path / "a.png")
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.fromarray((rgb[..., 0].astype(np.uint16) << 8) + 5).save(tmp_path / "wide.png")
    assert (read_images(tmp_path / "a.png") == rgb).all()
    assert (read_images(rgb) == rgb).all()
    assert (read_images(Image.fromarray(rgb)) == rgb).all()
    assert np.abs(read_images(tmp_path / "cmyk.tif")[0].astype(int) - rgb).max() <= 1
    assert (read_images(tmp_path / "wide.png")[0] == rgb[..., :1]).all()
    assert len(read_images(tmp_path / "a.png", frames=16)) == 1


@pytest.mark.slow
def test_what_is_no_image_is_refused_in_one_line(tmp_path: Path):
    good = Image.fromarray(make_image(40, 40))
    good.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:900])
    good.save(tmp_path / "moving.webp", save_all=True, append_images=[good.rotate(90)])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "huge.png").write_bytes(black_png(30000))
    cases = {
        "none.png": "there is no file",
        "cut.png": "is damaged",
        "moving.webp": "is an animation of 2 frames; show some of them with --frames",
        "text.png": "is not an image that can be read",
        "huge.png": "pixels are refused",
    }
    for name, message in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            read_images(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert len(read_images(tmp_path / "moving.webp", frames=2)) == 2
    with pytest.raises(BadInput, match="array is a video of 3 frames"):
        read_images(np.zeros((3, 8, 8, 3), np.uint8))
    with pytest.raises(BadInput, match=r"there is no way to resize called 'nearest'"):
        prepare(np.zeros((1, 8, 8, 3), np.uint8), 28, "nearest")  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match=r"wanted uint8 \(n, h, w, 3\)"):
        prepare(np.zeros((1, 8, 8, 3), np.float32), 28)
