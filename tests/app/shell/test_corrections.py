"""`tapetum track` with corrections, references, regions, names and points from several places."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

import tapetum
from support.networks import TAPIR_NANO, save_tapir
from tapetum.systems.tap.layers import Backbone
from tapetum.types import Tracks
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def nano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tapir(tmp_path_factory.mktemp("weights") / "nano.safetensors", TAPIR_NANO)


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    changes = {"causal": True, "initial_resolution": (32, 32), "iterations": 1, "mixer_blocks": 1}
    return save_tapir(tmp_path_factory.mktemp("weights") / "causal.safetensors", **changes)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "points.csv"
    path.write_text("name,t,x,y\nnose,0,10,20\ntail,2,30,40\n,0,50,30\n")
    return path


def test_a_query_does_not_swallow_the_video(run: Run, clip: Path, tmp_path: Path) -> None:
    assert run("track", "--model", "static", "--out", tmp_path, "--no-overlay", "--query", "0,10,10", clip)[0] == 0
    assert Tracks.load(tmp_path / "tracks.npz").queries.tolist() == [[0, 10, 10]]


@pytest.mark.parametrize(
    "points", [["--query", "0,10,10", "5,2,2"], ["--tracks", "t.npz", "--correct", "0,1,10,10", "tail,2,5,5"]]
)
def test_a_second_point_behind_one_option_is_no_video(run: Run, clip: Path, tmp_path: Path, points: list[str]) -> None:
    code, _, error = run("track", *points, clip, "--model", "static", "--out", tmp_path / "out")
    assert (code, error.count("\n")) == (2, 1)
    assert f"{points[-1]} is no video; if it is a point, write --query" in error


def test_corrections_are_for_one_video(run: Run, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "again.mp4").write_bytes(clip.read_bytes())
    tapetum.track(clip, model="static", grid=2).tracks.save(tmp_path / "t.npz")
    fix = ["--tracks", tmp_path / "t.npz", "--correct", "0,1,10,10"]
    code, _, error = run("track", clip, tmp_path / "again.mp4", *fix, "--out", tmp_path / "out")
    assert code == 2
    assert "the tracks of one video" in error


def test_names_go_with_their_points_into_tables_and_overlay(run: Run, clip: Path, table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("track", clip, "--model", "static", "--points", table, "--query", "1,5,5", "--out", out)[0] == 0
    for name in ("tracks.npz", "tracks.csv"):
        tracks = Tracks.load(out / name)
        assert tracks.names == ("nose", "tail", "", "")
        assert tracks.queries.tolist() == [[0, 10, 20], [2, 30, 40], [0, 50, 30], [1, 5, 5]]
    (tmp_path / "plain.csv").write_text(table.read_text().replace("nose", "").replace("tail", ""))
    plain = tmp_path / "plain"
    assert (
        run("track", clip, "--model", "static", "--points", tmp_path / "plain.csv", "--query", "1,5,5", "--out", plain)[0] == 0
    )
    named, bare = (open_video(folder / "overlay.mp4")[0].astype(int) for folder in (out, plain))
    assert np.abs(named - bare)[:25, 10:45].max() > 60, "no name was drawn"


def test_corrections_track_one_point_anew(run: Run, clip: Path, table: Path, nano: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("track", clip, "--model", nano, "--points", table, "--out", first, *KEEP)[0] == 0
    fix = ["--tracks", first / "tracks.csv", "--correct", "tail,5,33.5,41", "--correct", "1,0,28,39"]
    code, said, _ = run("track", *fix, clip, "--model", nano, "--out", second, "--json")
    assert code == 0
    assert json.loads(said)["points"] == 3
    old, new = Tracks.load(first / "tracks.npz"), Tracks.load(second / "tracks.npz")
    for name in ("xy", "visible", "confidence", "queries"):
        assert getattr(new, name)[[0, 2]].tobytes() == getattr(old, name)[[0, 2]].tobytes()
    assert [new.xy[1, t].tolist() for t in (0, 2, 5)] == [[28, 39], [30, 40], [33.5, 41]]
    assert new.names == old.names
    np.testing.assert_array_equal(new.times, old.times)
    again = tapetum.load(nano).correct(clip, old, [(1, 5, 33.5, 41), (1, 0, 28, 39)])
    np.testing.assert_allclose(new.xy, again.xy, atol=0.05)  # kept features are float16


KEEP = "--keep-features", 1024


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames that went through the image network, at each resolution, one number a call."""
    counts: list[int] = []
    forward = Backbone.forward

    def counted(self: Backbone, images: Tensor) -> tuple[Tensor, Tensor]:
        counts.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Backbone, "forward", counted)
    return counts


@pytest.mark.slow
def test_a_correction_looks_at_no_frame_again(
    run: Run, clip: Path, table: Path, nano: Path, tmp_path: Path, looked: list[int]
) -> None:
    first, second, plain = tmp_path / "first", tmp_path / "second", tmp_path / "plain"
    assert run("track", clip, "--model", nano, "--points", table, "--out", first, *KEEP)[0] == 0
    whole = sum(looked)
    assert whole >= 2 * 6  # frames of the clip, at two resolutions
    fix = ["--tracks", first / "tracks.npz", "--correct", "1,5,33.5,41"]
    looked.clear()
    assert run("track", clip, "--model", nano, *fix, "--out", second, *KEEP)[0] == 0
    assert looked == []
    new, old = Tracks.load(second / "tracks.npz"), Tracks.load(first / "tracks.npz")
    (first / "features.bin").unlink()
    assert run("track", clip, "--model", nano, *fix, "--out", plain)[0] == 0
    assert sum(looked) == whole
    assert not (plain / "features.bin").exists()
    np.testing.assert_allclose(new.xy, Tracks.load(plain / "tracks.npz").xy, atol=0.05)
    assert new.xy[[0, 2]].tobytes() == old.xy[[0, 2]].tobytes()
    looked.clear()  # the features went with the corrected tracks
    again = ["--tracks", second / "tracks.npz", "--correct", "0,3,12,21"]
    assert run("track", clip, "--model", nano, *again, "--out", second)[0] == 0
    assert run("track", clip, "--model", nano, *again, "--out", second)[0] == 0
    assert looked == []
    assert run("track", clip, "--model", nano, "--points", table, "--out", second)[0] == 0
    assert sum(looked) == whole  # kept features are rounded: what is tracked afresh is the same each time
    assert (second / "tracks.npz").read_bytes() == (first / "tracks.npz").read_bytes()


@pytest.mark.slow
def test_features_of_other_frames_or_weights_are_never_used(
    run: Run, clip: Path, nano: Path, tmp_path: Path, looked: list[int]
) -> None:
    out = tmp_path / "out"
    assert run("track", clip, "--model", nano, "--grid", 2, "--out", out, "--no-overlay", *KEEP)[0] == 0
    whole, kept = sum(looked), (out / "features.bin").read_bytes()
    words = ("--tracks", out / "tracks.npz", "--correct", "0,3,12,21", "--out", tmp_path / "new", "--no-overlay", *KEEP)
    frames = np.array(open_video(clip)[:])
    frames[2, 5, 5] ^= 255
    np.save(tmp_path / "other.npy", frames)
    other = save_tapir(tmp_path / "other.safetensors", TAPIR_NANO, seed=1)
    for video, model, count in ((tmp_path / "other.npy", nano, whole // 6), (clip, other, whole), (clip, nano, 0)):
        looked.clear()
        code, _, err = run("track", video, "--model", model, *words)
        assert code == 0, err
        assert sum(looked) == count
    changed = bytearray(kept)
    changed[-100] ^= 255
    for damaged, count in (
        (bytes(changed), whole // 6),
        (kept[:-100], whole // 6),
        (b"", whole),
        (b"{}", whole),
        (b'{"format": 1}\n' * 9, whole),
        (kept.replace(b'"initial": ', b'"initial": 9', 1), whole),
    ):
        (out / "features.bin").unlink()  # which has a second name in new/
        (out / "features.bin").write_bytes(damaged)
        looked.clear()
        assert run("track", clip, "--model", nano, *words)[0] == 0
        assert sum(looked) == count, damaged[:60]


@pytest.mark.slow
def test_kept_features_are_bounded(run: Run, clip: Path, nano: Path, tmp_path: Path, looked: list[int]) -> None:
    np.save(tmp_path / "long.npy", np.stack([np.full((48, 64, 3), k, np.uint8) for k in range(40)]))
    words = ("track", tmp_path / "long.npy", "--model", nano, "--grid", 1, "--no-overlay", "--keep-features", 1)
    assert run(*words, "--out", tmp_path / "out")[0] == 0
    whole, size = sum(looked), (tmp_path / "out" / "features.bin").stat().st_size
    assert 1 << 19 < size <= 1 << 20
    looked.clear()
    assert (
        run(
            *words[:4],
            *words[6:],
            "--correct",
            "0,9,12,21",
            "--tracks",
            tmp_path / "out" / "tracks.npz",
            "--out",
            tmp_path / "out",
        )[0]
        == 0
    )
    assert 0 < sum(looked) < whole
    assert (tmp_path / "out" / "features.bin").stat().st_size == size
    assert run("track", clip, clip.parent / "b.npy", "--out", tmp_path / "many", "--model", nano)[0] == 2
    assert not list(tmp_path.rglob("many/*/features.bin"))
    assert run("track", clip, "--model", nano, "--keep-features", -1)[0] == 2


def test_corrections_of_a_part_at_another_size(run: Run, clip: Path, nano: Path, tmp_path: Path) -> None:
    part = ["--start", 1, "--stride", 2, "--resize", 32]
    assert run("track", clip, "--model", nano, "--grid", 2, *part, "--out", tmp_path)[0] == 0
    old = Tracks.load(tmp_path / "tracks.npz")
    fix = ["--tracks", tmp_path / "tracks.npz", "--correct", "2,5,33.3,41.1", "--resize", 32]
    assert run("track", clip, "--model", nano, *fix, "--out", tmp_path)[0] == 0
    new = Tracks.load(tmp_path / "tracks.npz")
    assert new.numbers is not None
    assert new.numbers.tolist() == [1, 3, 5]
    np.testing.assert_array_equal(new.xy[2, 2], np.float32([33.3, 41.1]))
    np.testing.assert_array_equal(new.xy[[0, 1, 3]], old.xy[[0, 1, 3]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--correct", "0,0,1,1"], "--correct needs --tracks"),
        (["--tracks", "T"], "--tracks needs --correct"),
        (["--tracks", "T", "--correct", "4,0,1,1"], "no point 4"),
        (["--tracks", "T", "--correct", "0,6,1,1"], "frame 6 is not in the tracks, which have frames 0 to 5"),
        (["--tracks", "T", "--correct", "0,0,nan,1"], "outside the image"),
        (["--tracks", "T", "--correct", "0,1,1"], "no correction"),
        (["--tracks", "T", "--correct", "0,1,1,1", "--correct", "0,1,2,2"], "twice"),
        (["--tracks", "T", "--correct", "0,1,1,1", "--grid", "3"], "--grid was given with --correct"),
        (["--tracks", "T", "--correct", "0,1,1,1", "--3d"], "--3d"),
        (["--tracks", "T", "--correct", "0,1,1,1", "--online"], "leave --online out"),
        (["--tracks", "T", "--correct", "0,1,1,1"], "static does not look at images"),
        (["--reference", "R", "--query", "0,50,1"], "outside the image of 40x40"),
        (["--reference", "R"], "static does not look at images"),
        (["--region", "0,0,99,9"], "no box"),
    ],
)
def test_corrections_and_hints_that_cannot_be(run: Run, clip: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    tapetum.track(clip, model="static", grid=2).tracks.save(tmp_path / "t.npz")
    Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / "r.png")
    files = {"T": tmp_path / "t.npz", "R": tmp_path / "r.png"}
    code, _, error = run("track", clip, "--model", "static", "--out", tmp_path / "out", *(files.get(a, a) for a in arguments))
    assert (code, error.count("\n")) == (2, 1)
    assert message in error
    assert not (tmp_path / "out").exists()


def test_points_that_another_image_shows(run: Run, clip: Path, nano: Path, tmp_path: Path) -> None:
    Image.fromarray(open_video(clip)[2][:, :48]).save(tmp_path / "reference.png")
    given = ["--reference", tmp_path / "reference.png", "--region", "16,10,40,34", "--grid", 2]
    assert run("track", clip, "--model", nano, *given, "--out", tmp_path / "out")[0] == 0
    tracks = Tracks.load(tmp_path / "out" / "tracks.npz")
    places = [[0, 22, 16], [0, 34, 16], [0, 22, 28], [0, 34, 28]]
    wanted = tapetum.load(nano).track(clip, places, reference=tmp_path / "reference.png")
    np.testing.assert_allclose(tracks.xy, wanted.xy, atol=1e-3)
    assert tracks.clicked is not None
    assert not tracks.clicked.any()
    image = open_video(clip)[2][:, :48]
    same = tapetum.track(clip, model=str(nano), reference=image, region=(16, 10, 40, 34), grid=2).tracks
    np.testing.assert_allclose(same.xy, wanted.xy, atol=1e-3)


def test_points_that_another_image_shows_live(run: Run, clip: Path, causal: Path, tmp_path: Path) -> None:
    image = open_video(clip)[2][:, :48]
    Image.fromarray(image).save(tmp_path / "reference.png")
    (tmp_path / "points.csv").write_text("x,y,name\n22,16,a\n34,28,b\n")
    given = ["--reference", tmp_path / "reference.png", "--points", tmp_path / "points.csv"]
    assert run("track", clip, "--online", "--model", causal, *given, "--out", tmp_path / "out")[0] == 0
    tracks = Tracks.load(tmp_path / "out" / "tracks.npz")
    tracker = tapetum.load(causal)
    stream = tracker.start(open_video(clip)[0], [[22, 16], [34, 28]], reference=image)
    for t, frame in enumerate(open_video(clip)):
        stream, seen = tracker.step(stream, frame)
        np.testing.assert_allclose(tracks.xy[:, t], seen.xy, atol=1e-3)
    assert tracks.names == ("a", "b")


def test_rows_of_one_id_are_one_point(run: Run, clip: Path, nano: Path, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("id,t,x,y\nn,0,10,20\nm,3,5,5\nn,4,26,21\n")
    given = ["--points", tmp_path / "points.csv", "--query", "1,30,30"]
    assert run("track", clip, "--model", nano, *given, "--out", tmp_path)[0] == 0
    tracks = Tracks.load(tmp_path / "tracks.csv")
    assert tracks.queries.tolist() == [[0, 10, 20], [3, 5, 5], [1, 30, 30]]
    assert tracks.xy[0, 4].tolist() == [26, 21]
    code, _, error = run("track", clip, "--online", "--model", "causal-tapir-nano", *given, "--out", tmp_path / "live")
    assert code == 2
    assert "clicked twice" in error
