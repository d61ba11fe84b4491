"""Depth from files and from a network, with every kind of file that is no depth."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.depth import load_depth, sample_depth

DEPTH = np.random.default_rng(0).uniform(0.5, 9, (3, 12, 16)).astype(np.float32)
FRAMES = np.random.default_rng(1).integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)


def written(kind: str, folder: Path) -> Path:
    if kind == "npz":
        np.savez(folder / "depth.npz", depth=DEPTH)
        return folder / "depth.npz"
    if kind == "npy":
        np.save(folder / "depth.npy", DEPTH)
        return folder / "depth.npy"
    maps = folder / "maps"
    maps.mkdir()
    for number, depth in enumerate(DEPTH):
        if kind == "folder of npy":
            np.save(maps / f"{number:04d}.npy", depth)
        else:
            Image.fromarray((depth * 1000).round().astype(np.uint16)).save(maps / f"{number:04d}.png")
    return maps


@pytest.mark.parametrize(("kind", "off"), [("npz", 0.0), ("npy", 0.0), ("folder of npy", 0.0), ("folder of png", 0.00051)])
def test_files_give_a_map_a_frame(tmp_path: Path, kind: str, off: float) -> None:
    found = np.stack(list(load_depth(str(written(kind, tmp_path))).maps(FRAMES)))
    assert np.abs(found - DEPTH).max() <= off


@pytest.mark.parametrize("kind", ["npz", "folder of png"])
@pytest.mark.parametrize("frames", [2, 4])
def test_another_number_of_frames_is_refused(tmp_path: Path, kind: str, frames: int) -> None:
    source = load_depth(str(written(kind, tmp_path)))
    with pytest.raises(BadInput, match=f"has 3 depth maps for a video of {frames} frames"):
        list(source.maps(np.zeros((frames, 4, 4, 3), np.uint8)))


def test_what_is_no_depth_is_refused_in_one_line(tmp_path: Path) -> None:
    def refused(source: Path | str, match: str) -> None:
        with pytest.raises(BadInput, match=match) as caught:
            list(load_depth(str(source)).maps(FRAMES))
        assert "\n" not in str(caught.value)

    refused("nothing-here", "there is no depth nothing-here; give a file")
    refused(tmp_path / "gone.npz", "there is no depth")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "has no .npy or .png file")
    np.savez(tmp_path / "other.npz", tiefe=DEPTH)
    refused(tmp_path / "other.npz", "holds tiefe; it must hold depth")
    np.savez(tmp_path / "flat.npz", depth=DEPTH[0])
    refused(tmp_path / "flat.npz", r"holds float32 \(12, 16\); depth is floats \(t, h, w\)")
    np.save(tmp_path / "whole.npy", DEPTH.astype(np.int16))
    refused(tmp_path / "whole.npy", "holds int16")
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    refused(tmp_path / "objects.npy", "cannot read depth from")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "other.npz").read_bytes()[:300])
    refused(tmp_path / "cut.npz", "cut off or no npz")
    (tmp_path / "grey").mkdir()
    for number in range(3):
        Image.fromarray(FRAMES[0, :, :, 0]).save(tmp_path / "grey" / f"{number}.png")
    refused(tmp_path / "grey", "an image of mode L; depth is 16-bit grey")
    (tmp_path / "grey" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n but not really")
    refused(tmp_path / "grey", "cannot read depth from")
    (tmp_path / "film.mp4").write_bytes(b"film")
    refused(tmp_path / "film.mp4", "is no depth; give .npz")


def test_places_between_sizes() -> None:
    """A map of half the size: each of its pixels covers two by two of the frame's, and no two are of one surface."""
    xy = np.array([[0.1, 0.1], [1.9, 1.9], [2.0, 1.9], [31.9, 23.9], [32.0, 5.0], [np.nan, 3.0]])
    expected = [DEPTH[0, 0, 0], DEPTH[0, 0, 0], DEPTH[0, 0, 1], DEPTH[0, 11, 15], np.nan, np.nan]
    np.testing.assert_allclose(sample_depth(DEPTH[0], xy, (24, 32)), np.array(expected, np.float64), rtol=1e-12)


def test_a_slanted_plane_is_exact_between_pixels_and_an_edge_is_kept() -> None:
    """1/Z of a plane is linear in the image; a step of half its depth in the middle stays a step."""
    y, x = np.mgrid[:12, :16] + 0.5
    plane = 1 / (0.5 + 0.003 * x - 0.002 * y)
    at = np.random.default_rng(0).uniform(1, 11, (50, 2))
    np.testing.assert_allclose(sample_depth(plane, at, (12, 16)), 1 / (0.5 + 0.003 * at[:, 0] - 0.002 * at[:, 1]), rtol=1e-9)
    step, beside = np.where(x < 8, plane, 1.5 * plane), np.array([[7.9, 6], [8.1, 6]])
    expected = [1 / (0.5 + 0.003 * 7.5 - 0.002 * 6), 1.5 / (0.5 + 0.003 * 8.5 - 0.002 * 6)]
    np.testing.assert_allclose(sample_depth(step, beside, (12, 16)), expected, rtol=1e-9)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A very small ZoeDepth with random weights, as a folder that transformers saved."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.BeitConfig(
        image_size=32, patch_size=16, hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=16,
        out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False, use_relative_position_bias=True,
    )  # fmt: skip
    config = transformers.ZoeDepthConfig(
        backbone_config=backbone, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, bottleneck_features=8,
        num_relative_features=8,
        bin_configurations=[{"n_bins": 8, "min_depth": 0.1, "max_depth": 10.0}], num_attractors=[2, 2, 1, 1],
    )  # fmt: skip
    model = transformers.ZoeDepthForDepthEstimation(config)
    model.save_pretrained(tmp_path / "net")
    transformers.ZoeDepthImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "net")
    return tmp_path / "net"


def test_a_network_gives_metres_at_the_size_of_the_frames(network: Path) -> None:
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    maps = list(load_depth(str(network)).maps(FRAMES))
    assert [depth.shape for depth in maps] == [(24, 32)] * 3
    assert all(np.isfinite(depth).all() and (depth > 0).all() for depth in maps)
    processor = AutoImageProcessor.from_pretrained(network)
    model = AutoModelForDepthEstimation.from_pretrained(network).eval()
    with torch.inference_mode():
        small = model(**processor(images=Image.fromarray(FRAMES[1]), return_tensors="pt", do_pad=False)).predicted_depth[0]
    expected = np.asarray(Image.fromarray(small.numpy()).resize((32, 24), Image.Resampling.BILINEAR))
    assert small.shape != expected.shape
    assert np.abs(maps[1] - expected).mean() < 0.02 * np.ptp(expected) + 1e-4


def test_networks_that_are_damaged_or_know_no_metres_are_refused(network: Path, tmp_path: Path) -> None:
    import transformers

    (network / "model.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(BadInput, match="cannot load the depth network"):
        load_depth(str(network))
    config = transformers.DepthAnythingConfig(
        backbone_config=transformers.Dinov2Config(
            image_size=28, patch_size=14, hidden_size=8, num_hidden_layers=4, num_attention_heads=2, mlp_ratio=1,
            out_features=["stage1", "stage2", "stage3", "stage4"], reshape_hidden_states=False, apply_layernorm=True,
        ),
        neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, reassemble_hidden_size=8, head_hidden_size=8,
    )  # fmt: skip
    transformers.DepthAnythingForDepthEstimation(config).save_pretrained(tmp_path / "relative")
    transformers.DPTImageProcessor(size={"height": 28, "width": 28}).save_pretrained(tmp_path / "relative")
    with pytest.raises(BadInput, match="inverse depth up to an unknown shift"):
        load_depth(str(tmp_path / "relative"))
