"""What would be silently wrong is said in one line: images, weights, depth, points and scores that are not what they seem."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

import tapetum
from support.networks import save_tapir
from tapetum.core.errors import BadInput
from tapetum.core.reading import sha256_of
from tapetum.data.files import StoredFile, opened_image, stored_file
from tapetum.data.textures import from_images
from tapetum.hub import registry
from tapetum.hub.registry import known, location, resolve
from tapetum.types import Tracks
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]
RAMP = np.linspace(0, 1, 48 * 64, dtype=np.float32).reshape(48, 64)


def line(run: Run, *arguments: object) -> str:
    """Run a command that must be refused; give its one line."""
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, ""), stderr
    assert stderr.startswith("tapetum: ")
    assert stderr.count("\n") == 1
    return stderr


def test_float_images_are_0_to_1(tmp_path: Path) -> None:
    for number in range(2):
        Image.fromarray(RAMP).save(tmp_path / f"{number}.tif")
    seen = open_video(tmp_path)[1]
    assert np.array_equal(seen[..., 0], np.rint(RAMP * 255).astype(np.uint8))
    assert np.array_equal(np.asarray(opened_image(stored_file(tmp_path / "0.tif"), "RGB")), seen)
    shutil.copy(tmp_path / "0.tif", tmp_path / "0.png")  # textures have no .tif; Pillow looks at the content
    assert np.array_equal(from_images(tmp_path)(np.random.default_rng(0)), seen)


def test_other_floats_in_images_are_refused(run: Run, tmp_path: Path) -> None:
    for value, message in [(np.nan, "NaN"), (np.inf, "outside 0..1"), (200.0, "outside 0..1"), (-0.1, "0..1")]:
        (tmp_path / "frames").mkdir(exist_ok=True)
        Image.fromarray(RAMP).save(tmp_path / "frames" / "0.tif")
        wrong = RAMP.copy()
        wrong[3, 4] = value
        Image.fromarray(wrong).save(tmp_path / "frames" / "1.tif")
        said = line(run, "track", tmp_path / "frames", "--model", "static", "--out", tmp_path / "out")
        assert "1.tif" in said
        assert message in said
        assert not (tmp_path / "out").exists()


def test_images_of_16_bits_are_not_cut_off_at_255(tmp_path: Path) -> None:
    deep = (RAMP * 65535).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    content = StoredFile("a.png", (tmp_path / "a.png").read_bytes())
    assert np.array_equal(np.asarray(opened_image(content, "RGB"))[..., 0], deep >> 8)
    assert np.array_equal(from_images(tmp_path)(np.random.default_rng(0))[..., 0], deep >> 8)
    Image.fromarray((RAMP * 1e6).astype(np.int32)).save(tmp_path / "b.tif")
    with pytest.raises(BadInput, match="numbers from 0 to 1000000"):
        open_video(tmp_path / "b.tif")


def test_bundled_weights_are_what_was_published() -> None:
    bundled = [weights for weights in known().values() if weights.bundled]
    assert len(bundled) >= 4
    for weights in bundled:
        assert weights.sha256 == sha256_of(location(weights)), weights.name


def test_changed_bundled_weights_are_refused(run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = (location(known()[name]).read_bytes() for name in ("tapir-nano", "causal-tapir-nano"))
    for how in ["two bytes", "another"]:
        root = tmp_path / how
        (root / "hub").mkdir(parents=True)
        (root / "systems" / "tap" / "bundled").mkdir(parents=True)
        target = root / "systems" / "tap" / "bundled" / "tapir-nano.safetensors"
        data = bytearray(own if how == "two bytes" else other)
        if how == "two bytes":
            data[-1000] ^= 1
            data[-2000] ^= 1
        target.write_bytes(data)
        monkeypatch.setattr(registry, "__file__", str(root / "hub" / "registry.py"))
        assert "is not what was published" in line(run, "track", clip, "--out", tmp_path / "out")
        with pytest.raises(BadInput, match="is not what was published"):
            resolve("tapir-nano")


def test_weights_without_their_config_are_refused(run: Run, clip: Path, tmp_path: Path) -> None:
    small = save_tapir(tmp_path / "small.safetensors", initial_resolution=(32, 32), iterations=1, mixer_blocks=1)
    save_file(load_file(small), tmp_path / "stripped.safetensors")
    said = line(run, "track", clip, "--model", tmp_path / "stripped.safetensors", "--out", tmp_path / "out")
    assert "no longer the config" in said


def test_weights_of_another_network_under_a_known_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    shutil.copy(location(known()["tapir-nano"]), tmp_path / "tapir.safetensors")
    with pytest.raises(BadInput, match="another network than tapir"):
        tapetum.load("tapir")


def test_a_tracker_in_the_image_needs_depth_for_a_benchmark_in_space(run: Run, tmp_path: Path) -> None:
    tapetum.app.score.tapvid3d.scenes(tmp_path / "clips", n=1, size=32, frames=2, points=4)
    command = "eval", "tapvid3d", "--gt", tmp_path / "clips"
    assert "give --depth adjust" in line(run, *command, "--model", "tapir-nano")
    (tmp_path / "pred").mkdir()
    assert "none of 1 clips has a prediction" in line(run, *command, "--predictions", tmp_path / "pred")


def test_depth_maps_of_another_size(run: Run, clip: Path, tmp_path: Path) -> None:
    for shape, code in [((24, 32), 0), ((50, 66), 0), ((48, 48), 2), ((64, 48), 2)]:
        np.save(tmp_path / "depth.npy", np.full((6, *shape), 2.0, np.float32))
        options = "--3d", "--depth", tmp_path / "depth.npy", "--intrinsics", "50,50,32,24", "--out", tmp_path / "out"
        found, _, said = run("track", clip, "--model", "static", "--grid", 2, *options)
        assert found == code
        if code:
            assert "another shape of image" in said.splitlines()[-1]
        else:
            assert f"depth map 0 is {shape[1]}x{shape[0]}, the video 64x48" in said


def test_tracks_asked_for_on_a_frame_that_is_not_there(run: Run, clip: Path, tmp_path: Path) -> None:
    here = np.ones((1, 6), np.float32)
    tracks = Tracks(xy=np.full((1, 6, 2), 20.0), visible=here > 0, confidence=here, queries=[[99, 20, 20]])
    tracks.save(tmp_path / "tracks.npz")
    said = line(run, "show", tmp_path / "tracks.npz", clip, "--out", tmp_path / "a.mp4")
    assert "asked for on frame 99" in said
    assert "(0 to 5)" in said
    assert not (tmp_path / "a.mp4").exists()


def test_an_online_point_whose_frame_never_comes_is_not_followed(run: Run, clip: Path, tmp_path: Path) -> None:
    model = save_tapir(tmp_path / "m.safetensors", causal=True, initial_resolution=(32, 32), iterations=1, mixer_blocks=1)
    command = "track", clip, "--online", "--model", model, "--json"
    code, said, noted = run(*command, "--out", tmp_path / "a", "--query", "0,20,20", "--query", "999,20,20")
    assert code == 0
    assert "1 of 2 points were not followed: frame 999 never came (6 frames did)" in noted
    assert json.loads(said.splitlines()[-1])["points"] == 1
    assert Tracks.load(tmp_path / "a" / "tracks.npz").queries.tolist() == [[0, 20, 20]]
    code, _, noted = run(*command, "--out", tmp_path / "b", "--query", "999,20,20")
    assert code == 2
    assert "no point was followed" in noted
    assert not (tmp_path / "b").exists()
