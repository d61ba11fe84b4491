"""Kubric folders: the reader gives what was filmed, and says in one line what is wrong."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.tracks.facets import SceneConfig, SyntheticClip, make_clip
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.data import FEW_CLIPS, PAPER, Alterations, augment, shorten
from tapetum.tracks.training.kubric import KubricClips, kubric_sequences, read_sequence, write_sequence


@pytest.fixture(scope="module")
def scene() -> SyntheticClip:
    return make_clip(3, SceneConfig(size=(48, 64), frames=7), points=50)


@pytest.fixture
def data(tmp_path: Path, scene: SyntheticClip) -> Path:
    """Two sequences, written by hand in the published layout, with what else lies in it."""
    for name in ("0000", "0001"):
        folder = tmp_path / name
        (folder / "frames").mkdir(parents=True)
        (folder / "depths").mkdir()
        for t, frame in enumerate(scene.video):
            Image.fromarray(frame).save(folder / "frames" / f"{t:03d}.png")
            np.save(folder / "depths" / f"{t:03d}.npy", scene.depth[t])
        annotation = {
            "coords": scene.truth.xy,
            "visibility": ~scene.truth.visible,  # so called, but True where hidden
            "coords_depth": np.ones(scene.truth.visible.shape, np.float16),
            "camera": {"positions": np.zeros((7, 3)), "focal_length": 35.0},
        }
        np.save(folder / f"{name}.npy", annotation)
    return tmp_path


def test_the_reader_gives_the_scenes_exact_truth(data: Path, scene: SyntheticClip) -> None:
    assert kubric_sequences(data) == ["0000", "0001"]
    clip = KubricClips(data, ("0000", "0001"))[1]
    assert np.array_equal(clip.video[:], scene.video)
    assert np.array_equal(clip.video[2:6:2], scene.video[2:6:2])
    assert clip.xy.dtype == np.float32
    assert np.array_equal(clip.xy, scene.truth.xy)
    assert np.array_equal(clip.visible, scene.truth.visible)
    assert 0 < clip.visible.mean() < 1


def test_what_is_written_is_the_published_layout(tmp_path: Path, scene: SyntheticClip) -> None:
    clip = TrackedClip(scene.video, scene.truth.xy, scene.truth.visible)
    write_sequence(tmp_path / "0007", clip)
    # the steps of the public reader: frames by name, points and frames change places, visibility is negated
    truth = np.load(tmp_path / "0007" / "0007.npy", allow_pickle=True).item()
    frames = [np.asarray(Image.open(f)) for f in sorted((tmp_path / "0007" / "frames").iterdir())]
    assert np.array_equal(frames, scene.video)
    assert np.array_equal(truth["coords"].transpose(1, 0, 2)[3], scene.truth.xy[:, 3])
    assert np.array_equal(np.logical_not(truth["visibility"]).T, scene.truth.visible.T)
    again = read_sequence(tmp_path / "0007")
    assert np.array_equal(again.xy, clip.xy)


def test_places_that_are_not_finite_are_hidden(data: Path, scene: SyntheticClip) -> None:
    xy, visible = scene.truth.xy.astype(np.float64), np.ones_like(scene.truth.visible)
    xy[4, 2, 0], xy[5, 1, 1] = np.nan, np.inf
    np.save(data / "0000" / "0000.npy", np.array({"coords": xy, "visibility": ~visible}))
    clip = read_sequence(data / "0000")
    assert np.isfinite(clip.xy).all()
    assert sorted(map(tuple, np.argwhere(~clip.visible))) == [(4, 2), (5, 1)]


def test_only_the_frames_shown_are_decoded(data: Path) -> None:
    (data / "0000" / "frames" / "006.png").write_bytes(b"no image")
    clip = read_sequence(data / "0000")
    whole = set()
    for seed in range(20):
        try:
            shorten(clip, np.random.default_rng(seed), 3)
            whole.add(True)
        except BadInput:
            whole.add(False)
    assert whole == {True, False}  # parts without the last frame, and with it
    with pytest.raises(BadInput, match=r"cannot read the frame .*0000/frames/006\.png \(not a whole image\)"):
        clip.video[5:]


def test_showings_of_the_paper_are_cropped_and_nothing_else(data: Path) -> None:
    clip = read_sequence(data / "0000")
    dots = np.zeros_like(clip.video[:])
    inside = clip.visible & (clip.xy >= 0).all(-1)
    for n, t in np.argwhere(inside):
        x, y = clip.xy[n, t].astype(int)
        dots[t, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3] = 255
    outside = []
    for seed in range(20):
        sample = augment(TrackedClip(dots, clip.xy, clip.visible), np.random.default_rng(seed), 64, 30, alterations=PAPER)
        bright = sample.video.mean(-1) > sample.video.mean(-1).flatten().median() + 0.2
        for n, t in (~sample.occluded).nonzero().tolist():
            x, y = sample.xy[n, t].long().tolist()
            assert bright[t, y, x]
        outside.append(bool(((sample.xy < 0) | (sample.xy >= 64)).any()))
    assert any(outside)


def test_the_paper_neither_mirrors_nor_reverses() -> None:
    xy = np.stack([np.linspace(20, 40, 5), np.full(5, 30)], -1)[None].astype(np.float32)  # moves to the right
    clip = TrackedClip(np.zeros((5, 64, 64, 3), np.uint8), xy, np.ones((1, 5), bool))

    def moves(alterations: Alterations) -> set[bool]:
        samples = [augment(clip, np.random.default_rng(s), 64, 1, alterations=alterations) for s in range(30)]
        return {bool(s.xy[0, 4, 0] > s.xy[0, 0, 0]) for s in samples}

    assert moves(PAPER) == {True}
    assert moves(FEW_CLIPS) == {True, False}


def test_folders_that_lack_something_are_named_at_the_start(data: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (data / "0002" / "frames").mkdir(parents=True)
    (data / "0002" / "0002.npy").touch()
    (data / "0001" / "0001.npy").rename(data / "0001" / "else.npy")
    with pytest.raises(BadInput, match=r"2 of 3 folders .*: 0001 lacks 0001\.npy, 0002 lacks frames/\*\.png or \*\.jpg; get"):
        kubric_sequences(data)
    with pytest.raises(BadInput, match="there is no folder"):
        kubric_sequences(data / "nowhere")
    empty = tmp_path_factory.mktemp("empty")
    (empty / "0000.tar.gz").touch()
    with pytest.raises(BadInput, match="unpack them first"):
        kubric_sequences(empty)


class Harmful:
    def __reduce__(self):
        return exec, ("raise AssertionError('this ran')",)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\x93NUMPY\x01\x00", "not an npy file"),
        (pickle.dumps({"coords": 1}), "not an npy file"),
        ({"coords": np.zeros((4, 7, 2), np.float32)}, "no dict with coords and visibility"),
        ({"coords": np.zeros((4, 6, 2), np.float32), "visibility": np.zeros((4, 6), bool)}, "7 frames; wanted"),
        ({"coords": np.zeros((4, 7, 3), np.float32), "visibility": np.zeros((4, 7), bool)}, "does not fit together"),
        ({"coords": np.zeros((4, 7, 2), np.float32), "visibility": Harmful()}, "names builtins.exec"),
        ([1, 2], "no dict with coords and visibility"),
    ],
)
def test_damaged_truth_is_one_line_that_names_the_folder(
    data: Path, content: object, says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = data / "0001" / "0001.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        holder = np.empty((), object)
        holder[()] = content
        np.save(file, holder, allow_pickle=True)
    with pytest.raises(BadInput, match=says) as error:
        KubricClips(data, ("0000", "0001"))[1]
    assert "0001" in str(error.value)
    assert "\n" not in str(error.value)
    assert "this ran" not in capfd.readouterr().out
