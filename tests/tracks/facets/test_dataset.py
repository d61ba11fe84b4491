"""Files written by `make_dataset`, textures, and the sensor."""

import pickle

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.data.textures import from_images
from tapetum.systems.tapvid3d.made_clips import write_scenes
from tapetum.tracks.facets import SceneConfig, make_dataset
from tapetum.tracks.facets.dataset import expose, finished
from tapetum.video import open_video


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("scenes")
    make_dataset(out, n=2, seed=3, size=64, frames=5, points=32)
    return out


@pytest.mark.slow
def test_two_processes_make_the_same_clips(folder, tmp_path):
    made = make_dataset(tmp_path / "two", n=2, seed=3, size=64, frames=5, points=32, workers=2)
    assert made.read_bytes() == (folder / "tapvid.pkl").read_bytes()


def test_tapvid_pickle(folder):
    data = pickle.loads((folder / "tapvid.pkl").read_bytes())
    assert list(data) == ["scene-00000", "scene-00001"]
    for entry in data.values():
        assert entry["video"].shape == (5, 64, 64, 3)
        assert entry["video"].dtype == np.uint8
        assert entry["points"].shape == (32, 5, 2)
        assert entry["occluded"].shape == (32, 5)
        seen = entry["points"][~entry["occluded"]]
        assert seen.min() >= 0
        assert seen.max() < 1


def test_tapvid3d_file_reprojects_onto_the_pickle(folder):
    data = pickle.loads((folder / "tapvid.pkl").read_bytes())
    with np.load(folder / "tapvid3d" / "scene-00001.npz", allow_pickle=False) as file:
        fx, fy, cx, cy = file["fx_fy_cx_cy"]
        x, y, z = np.moveaxis(file["tracks_XYZ"], -1, 0)
        seen = file["visibility"]
        queries = file["queries_xyt"]
        first = Image.open(__import__("io").BytesIO(file["images_jpeg_bytes"][0]))
        assert file["extrinsics_w2c"].shape == (5, 4, 4)
    assert first.size == (64, 64)
    entry = data["scene-00001"]
    assert np.array_equal(seen.T, ~entry["occluded"])
    xy = np.stack([fx * x / z + cx, fy * y / z + cy], -1).transpose(1, 0, 2)
    assert np.allclose(xy[seen.T], entry["points"][seen.T] * 64, atol=1e-2)
    rows, frames = np.arange(32), queries[:, 2].astype(int)
    assert np.allclose(xy[rows, frames], queries[:, :2], atol=1e-2)


def test_truth_and_video(folder):
    with np.load(folder / "truth" / "scene-00000.npz") as file:
        assert file["instances"].shape == (5, 64, 64)
    with np.load(folder / "tapvid3d" / "scene-00000.depth.npz") as file:
        assert file["depth"].shape == (5, 64, 64)
        assert np.isfinite(file["depth"]).all()
    with open_video(folder / "videos" / "scene-00000.mp4") as video:
        assert len(video) == 5


def test_a_second_data_set_does_not_overwrite_the_first(folder):
    with pytest.raises(BadInput, match="exists already"):
        make_dataset(folder, n=1)


class Stopped(Exception):
    """Ctrl-C."""


def stop_after(count):
    def progress(done):
        if done == count:
            raise Stopped

    return progress


@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on_and_never_mixes_with_another(tmp_path):
    settings = {"n": 3, "seed": 3, "size": 32, "frames": 3, "points": 8}
    with pytest.raises(Stopped):
        make_dataset(tmp_path / "a", **settings, progress=stop_after(2))
    assert finished(tmp_path / "a") == 2
    first = (tmp_path / "a" / "videos" / "scene-00000.mp4").stat().st_mtime_ns
    with pytest.raises(BadInput, match="holds 2 scenes of a run with --n 3 --frames 3 that was not finished"):
        make_dataset(tmp_path / "a", **{**settings, "n": 1, "frames": 4})
    make_dataset(tmp_path / "a", **settings)
    assert (tmp_path / "a" / "videos" / "scene-00000.mp4").stat().st_mtime_ns == first
    assert not (tmp_path / "a" / ".unfinished").exists()
    make_dataset(tmp_path / "b", **settings)
    for name in ("tapvid.pkl", "tapvid3d/scene-00000.npz", "tapvid3d/scene-00002.depth.npz"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert list(pickle.loads((tmp_path / "a" / "tapvid.pkl").read_bytes())) == ["scene-00000", "scene-00001", "scene-00002"]
    (tmp_path / "b" / "tapvid.pkl").unlink()
    with pytest.raises(BadInput, match=r"holds \d+ files of scenes and no tapvid.pkl"):
        make_dataset(tmp_path / "b", **settings)


@pytest.mark.parametrize(
    "asked", [{"size": 100_000}, {"frames": 10**9}, {"points": 10**10}, {"size": 10_000, "frames": 10_000}]
)
def test_scenes_larger_than_memory_are_refused_at_once(tmp_path, asked):
    with pytest.raises(BadInput, match=r"(GiB of memory|pixels are refused).*make (it|them) smaller"):
        make_dataset(tmp_path / "a", n=1, **asked)
    with pytest.raises(BadInput, match="smaller"):
        write_scenes(tmp_path / "a", 1, **asked)
    assert not (tmp_path / "a").exists()


def test_textures_from_folder_and_parquet(tmp_path):
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    rows = []
    (tmp_path / "deep").mkdir()
    for i in range(20):
        image = Image.fromarray(np.full((20, 30, 3), i * 10, np.uint8))
        image.save(tmp_path / "deep" / f"{i:02d}.png")
        data = io.BytesIO()
        image.save(data, "PNG")
        rows.append({"bytes": data.getvalue(), "path": f"{i}.png"})
    pq.write_table(pa.table({"image": rows}), tmp_path / "images.parquet")
    for source in (tmp_path, tmp_path / "images.parquet"):
        train, held = from_images(source, "train"), from_images(source, "held-out")
        assert {int(held(rng)[0, 0, 0]) for _ in range(40)} == {90, 190}
        assert not {int(train(rng)[0, 0, 0]) for _ in range(200)} & {90, 190}


def test_sensor_noise_has_the_stated_bound():
    frames = np.full((4, 64, 64, 3), 0.5, np.float32)
    config = SceneConfig(noise=0.03, compress_share=0.0)
    spread = [
        np.diff(expose(frames, config, np.random.default_rng(s)).astype(float), axis=0).std() / 255 / 2**0.5 for s in range(20)
    ]
    assert max(spread) < 0.035
    assert max(spread) > 0.01
