"""The maker of ADT clips on a small sequence in the true layout: against exact truth, and against the public generator.

Stated errors. Tracks of points at pixel centres: under 1 mm, which is the rounding of depth to millimetres. Visibility:
agrees with exact visibility in 98 % of all places, and in 99.8 % where no edge of depth lies within a pixel.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import maximum_filter, minimum_filter

from support.raw_adt import APARTMENT, FIRST, STEP, Sequence, write_sequence
from support.scripts import GOLDEN
from tapetum.core.errors import BadInput, MissingExtra
from tapetum.systems.tapvid3d.data import read_clip
from tapetum.systems.tapvid3d.geometry import project
from tapetum.systems.tapvid3d.makers import adt, aria
from tapetum.systems.tapvid3d.makers.common import run

NAME = "Apartment_release_meal_seq136"
FRAMES = 8


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    return write_sequence(tmp_path_factory.mktemp("adt") / f"{NAME}_M1292", FRAMES)


@pytest.fixture(scope="module")
def moments(sequence: Sequence) -> adt.Moments:
    return adt.read_moments(aria.read_scene(sequence.folder), aria.open_frames(sequence.folder), sequence.times)


def test_tracks_and_visibility_are_the_exact_ones(sequence: Sequence, moments: adt.Moments):
    queries = adt.seeds(moments, 3000, np.random.default_rng(0))
    tracks, seen, kept = adt.follow(queries, moments)
    queries = queries[kept]
    points, _ = sequence.oracle.pick(queries[:, 2].astype(int), queries[:, :2])
    truth = sequence.oracle.follow(points)
    assert set(truth.instance) == {1, 2, 3, 4}
    error = np.linalg.norm(tracks - truth.xyz.transpose(1, 0, 2), axis=-1)
    assert error.max() < 1e-3
    exact = truth.visible.T
    assert 0.1 < 1 - exact.mean() < 0.9
    assert (seen == exact).mean() > 0.98
    quiet = ~edges(moments, tracks)
    assert quiet.mean() > 0.5
    assert (seen == exact)[quiet].mean() > 0.998


def edges(moments: adt.Moments, tracks: np.ndarray) -> np.ndarray:
    """Where (t, n) the depth changes by more than 2 cm within a pixel."""
    out = np.zeros(tracks.shape[:2], bool)
    for t, sideways in enumerate(moments.depth):
        depth = np.rot90(sideways, -1)
        column, row = np.clip(np.floor(project(tracks[t], aria.INTRINSICS)).astype(int), 0, aria.SIZE - 1).T
        out[t] = (maximum_filter(depth, 3) - minimum_filter(depth, 3) > adt.TOLERANCE)[row, column]
    return out


def test_the_public_generator_says_the_same(moments: adt.Moments):
    golden = np.load(GOLDEN / "adt.npz")
    tracks, seen, _ = adt.follow(golden["queries"], moments)
    assert tracks.shape == golden["tracks"].shape
    same = abs(tracks - golden["tracks"]).max((0, 2)) < 1e-9  # a rendered depth on the edge of a millimetre may fall otherwise
    assert same.mean() > 0.97
    assert (seen == golden["visible"])[:, same].all()
    y, x = np.mgrid[:520, :520]
    people = np.stack([0.3 * np.exp(-(((x - 60 * t) ** 2 + (y - 300) ** 2) / 80**2)) for t in range(FRAMES)])
    hidden = adt.hide_people(seen, tracks, people)
    assert (hidden == golden["without_people"])[:, same].all()
    assert hidden.sum() < 0.9 * seen.sum()


def test_only_frames_strictly_within_the_ground_truth_make_clips(sequence: Sequence):
    scene, frames = aria.read_scene(sequence.folder), aria.open_frames(sequence.folder)
    assert len(frames.timestamps) == FRAMES + 2
    assert [times.tolist() for times in adt.chunks(scene, frames, FRAMES)] == [sequence.times.tolist()]
    assert [len(times) for times in adt.chunks(scene, frames, 3)] == [3, 3]


def test_what_has_no_box_carries_no_point(sequence: Sequence, moments: adt.Moments):
    scene = aria.read_scene(sequence.folder)
    assert set(scene.objects_at(int(sequence.times[0]))) == {FIRST + k for k in range(1, 5)}
    rows, columns = np.nonzero(moments.frames[0].instances == APARTMENT)
    place = np.array([[aria.SIZE - (rows[0] + 0.5), columns[0] + 0.5, 0]])
    assert len(adt.attach(place, moments)[0]) == 0


def test_the_nearest_moment_counts(sequence: Sequence):
    scene, time = aria.read_scene(sequence.folder), int(sequence.times[3])
    moving = FIRST + 2
    assert (scene.objects_at(time + STEP // 2 - 2)[moving] == scene.objects_at(time)[moving]).all()
    assert (scene.objects_at(time + STEP // 2 + 2)[moving] == scene.objects_at(time + STEP)[moving]).all()
    assert (scene.objects_at(0)[moving] == scene.objects_at(int(sequence.times[0]))[moving]).all()


def test_an_object_that_is_missing_at_a_moment_loses_its_tracks(sequence: Sequence, moments: adt.Moments, tmp_path: Path):
    folder = tmp_path / "SEQ"
    shutil.copytree(sequence.folder, folder, ignore=shutil.ignore_patterns("rectified"))
    path = folder / "scene_objects.csv"
    lines = path.read_text().splitlines()
    gone = f"{FIRST + 2},{sequence.times[4]},"
    path.write_text("\n".join(line for line in lines if not line.startswith(gone)) + "\n")
    less = adt.read_moments(aria.read_scene(folder), aria.open_frames(sequence.folder), sequence.times)
    queries = adt.seeds(moments, 1000, np.random.default_rng(0))
    before, after = (set(adt.attach(queries, m)[0].tolist()) for m in (moments, less))
    assert before - after == {FIRST + 2}


def test_files_of_the_benchmark(sequence: Sequence, tmp_path: Path):
    report = run(adt.jobs(sequence.folder.parent, tracks=400, length=FRAMES), tmp_path)
    assert report.made == [f"{NAME}_0"]
    clip = read_clip(tmp_path / f"{NAME}_0.npz")
    assert clip.source == "adt"
    assert clip.size == (512, 512)
    assert clip.extrinsics_w2c is not None
    assert np.allclose(clip.extrinsics_w2c, sequence.camera_from_scene, atol=1e-9)
    frame, n = clip.queries_xyt[:, 2].astype(int), np.arange(clip.points)
    assert clip.visibility[frame, n].all()
    assert np.allclose(project(clip.tracks_XYZ[frame, n], clip.fx_fy_cx_cy), clip.queries_xyt[:, :2], atol=1e-9)
    assert len(set(frame)) > 4
    # the image under a query shows what the upright frame shows there
    off = abs(clip.video().astype(int) - sequence.images).mean()
    assert off < 6  # JPEG
    again = tmp_path / "again"
    run(adt.jobs(sequence.folder, tracks=400, length=FRAMES), again)
    assert (again / f"{NAME}_0.npz").read_bytes() == (tmp_path / f"{NAME}_0.npz").read_bytes()


def test_people_hide_what_is_behind_them(sequence: Sequence, tmp_path: Path):
    people = tmp_path / "people"
    people.mkdir()
    left = np.zeros((FRAMES, 100, 100), np.float32)
    left[:, :, :50] = 0.2
    np.save(people / f"{NAME}_0.npy", left)
    run(adt.jobs(sequence.folder, tracks=400, length=FRAMES, people=people), tmp_path)
    clip = read_clip(tmp_path / f"{NAME}_0.npz")
    x = project(clip.tracks_XYZ, clip.fx_fy_cx_cy)[..., 0]
    assert not (clip.visibility & (x < 256)).any()
    assert clip.visibility.any()
    (people / f"{NAME}_0.npy").unlink()
    report = run(adt.jobs(sequence.folder, tracks=400, length=FRAMES, people=people), tmp_path / "none")
    assert "probabilities of people" in report.failed[f"{NAME}_0"]


def test_images_are_added_to_annotations_that_fit(sequence: Sequence, tmp_path: Path):
    made, downloaded, out = (tmp_path / name for name in ("made", "downloaded", "out"))
    run(adt.jobs(sequence.folder, tracks=300, length=FRAMES), made)
    truth = read_clip(made / f"{NAME}_0.npz")
    downloaded.mkdir()
    keys = {name: getattr(truth, name) for name in ("queries_xyt", "tracks_XYZ", "visibility", "extrinsics_w2c")}
    means = sequence.images.mean((1, 2))
    np.savez(downloaded / f"{NAME}_0.npz", video_means=means, **keys)
    report = run(adt.annotated(sequence.folder.parent, downloaded), out)
    assert report.made == [f"{NAME}_0"], report.failed
    assert (out / f"{NAME}_0.npz").read_bytes() == (made / f"{NAME}_0.npz").read_bytes()
    for change, words in ((0.01, "mean colour of frame 2 is 0.01 off"), (None, "(8, 3) means, the annotation (7, 3)")):
        other = means[:-1] if change is None else means + change * (np.arange(FRAMES)[:, None] == 2)
        np.savez(downloaded / f"{NAME}_0.npz", video_means=other, **keys)
        report = run(adt.annotated(sequence.folder.parent, downloaded), tmp_path / f"wrong {change}")
        assert words in report.failed[f"{NAME}_0"]


def test_rectified_frames_are_kept_as_they_are(sequence: Sequence, tmp_path: Path):
    source = aria.RectifiedFrames(sequence.folder / "rectified")
    aria.save_rectified(source, tmp_path / "copy")
    copy = aria.RectifiedFrames(tmp_path / "copy")
    assert (copy.timestamps == source.timestamps).all()
    for time in map(int, source.timestamps):
        a, b = source.frame(time), copy.frame(time)
        assert a is not None
        assert b is not None
        assert all((getattr(a, name) == getattr(b, name)).all() for name in ("rgb", "depth", "instances"))


class Gaps:
    """Frames of which one lacks its depth."""

    def __init__(self, frames: aria.AriaFrames, missing: int):
        self.frames, self.missing = frames, missing
        self.timestamps, self.device_from_camera = frames.timestamps, frames.device_from_camera

    def frame(self, timestamp: int) -> aria.AriaFrame | None:
        return None if timestamp == self.missing else self.frames.frame(timestamp)


def test_a_frame_without_depth_is_left_out_of_its_clip(sequence: Sequence, tmp_path: Path):
    frames = Gaps(aria.open_frames(sequence.folder), int(sequence.times[2]))
    scene = aria.read_scene(sequence.folder)
    assert len(adt.read_moments(scene, frames, sequence.times).frames) == FRAMES - 1
    aria.save_rectified(frames, tmp_path / "rectified")
    again = aria.RectifiedFrames(tmp_path / "rectified")
    assert len(again.timestamps) == FRAMES + 2
    assert len(adt.read_moments(scene, again, sequence.times).frames) == FRAMES - 1
    with pytest.raises(BadInput, match="no frame of this clip"):
        adt.read_moments(scene, frames, sequence.times[2:3])


def damaged(folder: Path, what: str) -> None:
    path = folder / what.split()[0]
    if what.endswith("gone"):
        path.unlink()
    elif what.endswith("column"):
        path.write_text(path.read_text().replace("q_wo_w", "q_w").replace("tx_world_device", "x"))
    elif what.endswith("cut"):
        text = path.read_text()
        path.write_text(text[: len(text) - 60])
    else:
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:1], lines[1].replace(lines[1].split(",")[4], "nan"), *lines[2:]]) + "\n")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("scene_objects.csv gone", "cannot read"),
        ("aria_trajectory.csv column", "has no column 'tx_world_device'"),
        ("scene_objects.csv column", "has no column 'q_wo_w'"),
        ("scene_objects.csv cut", "is damaged"),
        ("aria_trajectory.csv nan", "not finite"),
    ],
)
def test_damaged_tables_are_named(sequence: Sequence, tmp_path: Path, what: str, words: str):
    folder = tmp_path / f"{NAME}_M1292"
    shutil.copytree(sequence.folder, folder, ignore=shutil.ignore_patterns("rectified"))
    damaged(folder, what)
    with pytest.raises(BadInput, match=words) as caught:
        aria.read_scene(folder)
    assert what.split()[0] in str(caught.value)


def test_damaged_frames_are_named(sequence: Sequence, tmp_path: Path):
    folder = tmp_path / f"{NAME}_M1292"
    shutil.copytree(sequence.folder, folder)
    path = folder / "rectified" / f"{sequence.times[1]}.npz"
    path.write_bytes(path.read_bytes()[:5000])
    report = run(adt.jobs(folder, tracks=50, length=FRAMES), tmp_path / "out")
    assert path.name in report.failed[f"{NAME}_0"]
    shutil.rmtree(folder / "rectified")
    report = run(adt.jobs(folder, tracks=50, length=FRAMES), tmp_path / "out")
    assert "video.vrs" in report.failed[NAME]
    with pytest.raises(BadInput, match=r"SEQUENCE/aria_trajectory\.csv"):
        list(adt.jobs(tmp_path / "out"))


def test_names_of_version_2():
    # from google-deepmind/tapnet's adt_v1v2_mappings.py
    pairs = {
        "Apartment_release_clean_seq131": "Apartment_release_clean_seq131_M1292",
        "Apartment_release_multiskeleton_party_seq101": "Apartment_release_multiskeleton_party_seq101_71292",
        "Apartment_release_multiuser_cook_seq103": "Apartment_release_multiuser_cook_seq103_M1292",
        "Lite_release_recognition_WoodenSpoon_seq035": "Lite_release_recognition_WoodenSpoon_seq035_61283",
    }
    assert {v1: adt.v2_name(v1) for v1 in pairs} == pairs
    assert {v2: adt.v1_name(v2) for v2 in pairs.values()} == {v2: v1 for v1, v2 in pairs.items()}
    other = "Apartment_release_multiuser_cook_seq103_71292"
    assert adt.v1_name(other) == other


def test_vrs_files_need_their_extra(sequence: Sequence, tmp_path: Path):
    if importlib.util.find_spec("projectaria_tools"):
        pytest.skip("projectaria-tools is installed")
    for name in ("video.vrs", "depth_images.vrs", "segmentations.vrs"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(MissingExtra, match=r"tapetum\[aria\]"):
        aria.VrsFrames(tmp_path)


def test_vrs_files():
    """On facebookresearch/projectaria_tools' data/gen1/aria_digital_twin_test_data, the folder in TAPETUM_ADT_TEST_DATA."""
    pytest.importorskip("projectaria_tools")
    folder = Path(os.environ.get("TAPETUM_ADT_TEST_DATA") or pytest.skip("TAPETUM_ADT_TEST_DATA is not set"))
    scene, frames = aria.read_scene(folder), aria.VrsFrames(folder)
    (times,) = adt.chunks(scene, frames, 2)
    moments = adt.read_moments(scene, frames, times)
    made = adt.make_clip(moments, np.random.default_rng(0), 200)
    world = [np.linalg.inv(pose) for pose in made["extrinsics_w2c"]]
    spots = [x @ pose[:3, :3].T + pose[:3, 3] for pose, x in zip(world, made["tracks_XYZ"], strict=True)]
    moved = np.linalg.norm(spots[0] - spots[1], axis=1)
    assert made["tracks_XYZ"].shape[1] > 150
    assert (moved < 1e-9).mean() > 0.7  # the others lie on things that are tracked
    assert moved.max() < 0.05
