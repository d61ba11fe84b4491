"""The codec of masks: against the reference's encoder and decoder with the same weights (golden), names, files, bad files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from support.scripts import GOLDEN, script
from tapetum.core.errors import BadInput
from tapetum.metrics.masks import mask_iou
from tapetum.systems.paligemma.locations import box_numbers, parse, paste, suffix
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.codec import MaskCodec, cut_out, from_official, load, save
from tapetum.systems.paligemma.masks.config import SMALL, MaskCodecConfig
from tapetum.types import Masks

MAKER = script("tests/golden/make_mask_codec_golden.py")


@pytest.fixture(scope="module")
def official() -> MaskCodec:
    return from_official(MAKER.weights()).eval()


@pytest.fixture(scope="module")
def small() -> MaskCodec:
    torch.manual_seed(0)
    return MaskCodec(SMALL).eval()


@pytest.mark.slow
def to_official(model: MaskCodec) -> dict[str, np.ndarray]:
    """Name the tensors as in `vae-oid.npz`."""
    state = model.state_dict().items()
    return {"_vq_vae._embedding" if name == "codebook" else name: tensor.float().numpy() for name, tensor in state}


def test_codes_and_masks_are_those_of_the_reference(official: MaskCodec):
    golden = np.load(GOLDEN / "mask_codec.npz")
    masks = torch.from_numpy(MAKER.masks())
    with torch.no_grad():
        codes = official.encode(masks)
    assert (codes.numpy() == golden["codes"]).all()
    decoded = official.unpack(golden["codes"])
    np.testing.assert_allclose(decoded[:, ::3, ::5], golden["decoded"], atol=2e-5 * np.abs(decoded).max())


def test_every_name_of_the_official_file_is_used_once(official: MaskCodec):
    arrays = MAKER.weights()
    assert official.config == MaskCodecConfig()
    back = to_official(official)
    assert sorted(back) == sorted(arrays)
    assert all((back[name] == array).all() for name, array in arrays.items())


def test_a_file_of_ours_and_the_official_one_are_read(small: MaskCodec, tmp_path: Path):
    small_arrays = to_official(small)
    np.savez(
        tmp_path / "vae.npz",
        **small_arrays,
        **{"_vq_vae._ema_w": np.ones((128, 32)), "_vq_vae._ema_cluster_size": np.ones(128)},
    )
    save(small, tmp_path / "own.safetensors", torch.float32)
    mask_codec.convert(tmp_path / "vae.npz", tmp_path / "converted.safetensors", "")
    masks = torch.rand(3, 64, 64)
    for name in ("vae.npz", "own.safetensors", "converted.safetensors"):
        model = load(tmp_path / name)
        assert model.config == SMALL
        assert not any(p.requires_grad for p in model.parameters())
        assert (model.encode(masks) == small.encode(masks)).all()
    save(small, tmp_path / "half.safetensors")
    assert load(tmp_path / "half.safetensors").codebook.dtype == torch.float32
    assert (tmp_path / "half.safetensors").stat().st_size < 1_000_000


def test_halves_of_a_box_go_to_the_even_pixel():
    """As `numpy.round` of the reference has it."""
    mask = np.zeros((8, 8), bool)
    mask[2:4, 2:4] = True
    assert (cut_out(mask, (2.5, 1.5, 3.5, 4.5)) == 1).all()  # pixels 2 to 4 both ways


def test_a_mask_is_cut_out_along_its_box():
    mask = np.zeros((40, 60), bool)
    mask[10:26, 20:52] = True
    assert (cut_out(mask) == 1).all()
    half = cut_out(mask, (20.4, 10.4, 52.4, 42))  # rounded to 20, 10, 52, 42, of which the image has up to 40
    assert (half[:30] == 1).all()
    assert (half[40:] == 0).all()
    with pytest.raises(BadInput, match="holds no pixel of a mask 60 wide and 40 high"):
        cut_out(mask, (70, 0, 80, 10))
    with pytest.raises(BadInput, match="holds no pixel"):
        cut_out(np.zeros((4, 4), bool))


def test_a_large_mask_is_made_small_by_the_mean_of_its_pixels():
    """As Pillow does, whose bilinear filter is as wide as a pixel of the smaller image too."""
    y, x = np.mgrid[:300, :440]
    for mask in ((x // 3 + y // 5) % 2 == 0, np.hypot(x - 220, y - 150) < 140, (x % 7 == 0) | (y % 11 < 2)):
        theirs = Image.fromarray(mask.astype(np.float32)).resize((64, 64), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(cut_out(mask, (0, 0, 440, 300)), theirs, atol=1e-5)


def test_one_is_as_a_row_of_several_and_shapes_are_checked(small: MaskCodec):
    masks = torch.rand(4, 64, 64)
    codes = small.encode(masks)
    assert codes.shape == (4, 16)
    assert (small.encode(masks[2:3])[0] == codes[2]).all()
    torch.testing.assert_close(small.decode(codes[2:3])[0], small.decode(codes)[2])
    with pytest.raises(BadInput, match="codes are from 0 to 128; this codec has 128"):
        small.unpack(np.array([[0] * 15 + [128]]))
    assert small.unpack(np.zeros((0, 16), int)).shape == (0, 64, 64)
    assert small.unpack([*range(16)]).shape == (1, 64, 64)
    np.testing.assert_array_equal(small.unpack([*range(16)]), small.unpack(np.arange(16, dtype=np.uint8)[None]))


def test_gradients_reach_every_parameter(small: MaskCodec):
    model = MaskCodec(SMALL)
    features = model.features(torch.rand(2, 64, 64))
    model.draw(features).square().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_what_is_no_codec_is_refused_in_one_line(small: MaskCodec, tmp_path: Path):
    arrays = to_official(small)
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    np.savez(tmp_path / "missing.npz", **{k: v for k, v in arrays.items() if k != "decoder.12.bias"})
    np.savez(tmp_path / "shape.npz", **{**arrays, "decoder.12.bias": np.ones(2, np.float32)})
    np.savez(tmp_path / "nan.npz", **{**arrays, "decoder.12.bias": np.array([np.nan], np.float32)})
    np.savez(tmp_path / "more.npz", **arrays, extra=np.ones(1))
    (tmp_path / "text.npz").write_text("no")
    (tmp_path / "text.safetensors").write_text("no file of weights at all")
    cases = {
        "none.npz": "there is no file",
        "other.npz": "holds no codec of masks",
        "missing.npz": "missing.npz: the weights lack decoder.12.bias",
        "shape.npz": r"decoder.12.bias is \(2,\) where the config wants \(1,\)",
        "nan.npz": "something else than finite numbers",
        "more.npz": "has no extra",
        "text.npz": "is no npz file",
        "text.safetensors": "is no file of weights",
    }
    for name, message in cases.items():
        with pytest.raises(BadInput, match=message) as caught:
            load(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="four channels"):
        MaskCodecConfig(channels=(1, 2, 3))  # pyright: ignore[reportArgumentType]


def test_the_codec_that_comes_along_keeps_simple_shapes():
    codec = load()
    assert codec.config == SMALL
    y, x = np.mgrid[:120, :160] + 0.5
    shapes = {
        "disc": np.hypot(x - 80, y - 60) < 40,
        "box": (abs(x - 70) < 50) & (abs(y - 60) < 20),
        "slanted": abs(0.6 * (x - 80) + 0.8 * (y - 60)) + abs(0.8 * (x - 80) - 0.6 * (y - 60)) < 40,
        "triangle": (y < 100) & (y > 20 + abs(x - 80)),
        "half hidden": (np.hypot(x - 80, y - 60) < 40) & (x + y < 150),
    }
    for name, mask in shapes.items():
        x1, y1, x2, y2 = Masks(masks=mask[None]).boxes.xyxy[0]
        numbers = box_numbers(np.array([[x1, y1, x2, y2]]), 160, 120)[0]
        back = paste(codec.unpack(codec.codes_of(mask)[None])[0], numbers, mask.shape)
        assert mask_iou(back, mask) > 0.9, name


def test_masks_come_back_from_text_with_no_download():
    mask = np.hypot(*(np.mgrid[:64, :64] - 31.5)) < 20
    codec = load()
    boxes = Masks(masks=mask[None], labels=["disc"]).boxes
    text = suffix(boxes, 64, 64, codec.codes_of(mask)[None])
    found = parse(text, 64, 64, codec.unpack)
    assert found.masks.labels == ("disc",)
    assert mask_iou(found.masks.masks[0], mask) > 0.9
