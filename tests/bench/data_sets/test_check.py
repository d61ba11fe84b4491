"""Checks of folders of data sets: complete ones, and ones in which something is missing, damaged or counted otherwise."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import raw_adt, raw_pstudio, raw_waymo
from support.davis_folder import write_davis
from support.files import film, make_image, sound
from support.question_sets import fill, make_set, write
from support.tapvid3d_clips import example, save
from tapetum.bench.data_sets import DATA_SETS, Part
from tapetum.bench.data_sets.check import PartReport, check_part, choose_parts, open_media, reader_of
from tapetum.core.errors import BadInput
from tapetum.data.perception import metadata, write_annotations
from tapetum.data.shard_sources import FileSamples
from tapetum.data.shards import write_shards
from tapetum.tracks.tapvid import TapVidEntry, write_entries
from tapetum.tracks.training.clips import TrackedClip
from tapetum.tracks.training.kubric import write_sequence


def checked(name: str, folder: Path, split: str, items: int | None = None, samples: int = 5) -> PartReport:
    """Check a split as if `items` had been published of it."""
    [part] = choose_parts(DATA_SETS[name], [split])
    return check_part(DATA_SETS[name], folder, replace(part, items=items), samples)


def kinds(report: PartReport) -> list[str]:
    return [finding.kind for finding in report.findings]


def test_a_complete_split_and_what_can_be_wrong_with_one(tmp_path: Path) -> None:
    fill(make_set("vqav2", tmp_path))
    report = checked("vqav2", tmp_path, "val", items=2)
    assert (kinds(report), report.items, report.missing, report.opened) == (["complete"], 2, 0, 2)
    assert report.findings[0].text == "2 questions (as published), 2 files opened"
    for published in (1, 3):
        assert kinds(checked("vqav2", tmp_path, "val", items=published)) == ["count"]
    first, second = sorted((tmp_path / "val2014").glob("*.jpg"))
    first.write_bytes(b"cut short")
    assert kinds(checked("vqav2", tmp_path, "val", items=2)) == ["unreadable"]
    second.unlink()
    report = checked("vqav2", tmp_path, "val")
    assert (kinds(report), report.missing, report.opened) == (["missing", "unreadable"], 1, 0)
    assert second.name in report.findings[0].text
    (tmp_path / "v2_mscoco_val2014_annotations.json").write_text("{")
    report = checked("vqav2", tmp_path, "val")
    assert (kinds(report), report.items) == (["unreadable"], None)
    assert "v2_mscoco_val2014_annotations.json is no JSON" in report.findings[0].text


def test_some_files_are_opened_the_first_and_the_last_among_them(tmp_path: Path) -> None:
    for k in range(9):
        make_image(tmp_path / "train" / "n01" / f"{k}.jpg", (k, k, k))
    assert checked("imagenet", tmp_path, "train", samples=3).opened == 3
    (tmp_path / "train" / "n01" / "8.jpg").write_bytes(b"")
    assert kinds(checked("imagenet", tmp_path, "train", samples=2)) == ["unreadable"]
    (tmp_path / "train" / "n01" / "8.jpg").unlink()
    (tmp_path / "train" / "n01" / "3.jpg").write_bytes(b"")
    assert kinds(checked("imagenet", tmp_path, "train", samples=2)) == ["complete"]


def test_videos_that_vanished_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"run,abcdefghij{k},1,11,train\n" for k in range(3))
    write(tmp_path, {"train.csv": f"label,youtube_id,time_start,time_end,split\n{rows}"})
    film(tmp_path / "abcdefghij1_000001_000011.mp4")
    report = checked("kinetics-400", tmp_path, "train")
    assert (report.items, report.missing, report.opened, kinds(report)) == (3, 2, 1, ["missing"])


def davis(folder: Path) -> tuple[str, str, int]:
    write_davis(folder, {"a": (3, 1), "b": (3, 2)})
    return "davis", "val", 2


def tapvid(folder: Path) -> tuple[str, str, int]:
    video = np.zeros((2, 8, 8, 3), np.uint8)
    clip = TapVidEntry(name="a", video=video, points=np.full((1, 2, 2), 0.5, np.float32), occluded=np.zeros((1, 2), bool))
    write_entries(folder / "tapvid_davis.pkl", {"a": clip, "b": clip})
    return "tapvid-davis", "test", 2


def cotracker(folder: Path) -> tuple[str, str, int]:
    clip = TrackedClip(np.zeros((2, 8, 8, 3), np.uint8), np.ones((1, 2, 2), np.float32), np.ones((1, 2), bool))
    write_sequence(folder / "0000", clip)
    return "kubric-cotracker3", "train", 1


def pairs(folder: Path) -> tuple[str, str, int]:
    make_image(folder.parent / "a.jpg", (1, 2, 3))
    samples = FileSamples([(str(k), {"jpg": folder.parent / "a.jpg", "txt": b"a cup"}) for k in range(3)])
    write_shards(iter(samples), folder, "shard", samples_per_shard=2, bytes_per_shard=10**9)
    return "webli", "train", 3


def lines(folder: Path) -> tuple[str, str, int]:
    make_image(folder / "1.jpg", (1, 2, 3))
    write(folder, {"train.jsonl": '{"image": "1.jpg", "question": "What?", "answers": ["a cup"]}\n'})
    return "ai2d", "train", 1


def meshes(folder: Path) -> tuple[str, str, int]:
    write(folder, {"cup/train/cup_0001.off": "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"})
    return "modelnet40", "train", 1


def recordings(folder: Path) -> tuple[str, str, int]:
    classes = "index,mid,display_name\n0,/m/1,Speech\n"
    write(folder, {"class_labels_indices.csv": classes, "eval_segments.csv": '# a\nabc, 0.0, 10.0, "/m/1"\n'})
    sound(folder / "abc.wav", 3)
    return "audioset", "val", 1


def rendered(folder: Path) -> tuple[str, str, int]:
    metadata = {"metadata": {"num_frames": 1, "num_instances": 1}, "instances": [{"asset_id": "a"}]}
    write(folder, {f"7/{name}.json": metadata if name == "metadata" else {} for name in ("metadata", "events", "data_ranges")})
    make_image(folder / "7" / "rgba_00000.png", (1, 2, 3))
    Image.fromarray(np.zeros((12, 20), np.uint8)).save(folder / "7" / "segmentation_00000.png")
    return "kubric-panning", "train", 1


def perception(folder: Path) -> tuple[str, str, int]:
    about = metadata(
        video_id="video_1", split="valid", frame_rate=10.0, frames=4, size=(32, 32), audio_samples=0, audio_sample_rate=16_000,
        cup_game=False, moving=False,
    )  # fmt: skip
    (folder / "annotations").mkdir()
    write_annotations(folder / "annotations" / "all_valid.json", [("video_1", {"metadata": about})])
    (folder / "videos").mkdir()
    film(folder / "videos" / "video_1.mp4")
    return "perception-test", "valid", 1


def digital_twin(folder: Path) -> tuple[str, str, int]:
    raw_adt.write_sequence(folder / "Apartment_release_meal_seq136_M1292", 2)
    return "adt", "all", 1


def drives(folder: Path) -> tuple[str, str, int]:
    raw_waymo.write_segment(folder / "training", 2)
    return "waymo-open", "training", 1


def studio(folder: Path) -> tuple[str, str, int]:
    raw_pstudio.write_studio(folder, 2)
    return "panoptic-studio", "all", 1


SLOW = [pytest.param(make, marks=pytest.mark.slow) for make in (digital_twin, drives, studio)]


@pytest.mark.parametrize("make", [*SLOW, perception, davis, tapvid, cotracker, pairs, lines, meshes, recordings, rendered])
def test_every_kind_of_layout_is_read_and_its_files_opened(
    tmp_path: Path, make: Callable[[Path], tuple[str, str, int]]
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    name, split, items = make(folder)
    report = checked(name, folder, split, items=items)
    assert (kinds(report), report.items) == (["complete"], items)
    assert report.opened > 0
    assert kinds(checked(name, tmp_path / "nothing", split)) == ["unreadable"]


def test_damage_within_pickles_and_clips_is_met(tmp_path: Path) -> None:
    tapvid(tmp_path)
    [file] = tmp_path.glob("*.pkl")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    assert kinds(checked("tapvid-davis", tmp_path, "test")) == ["unreadable"]
    clip = example()
    save(tmp_path / "pstudio" / "tennis_1.npz", clip)
    report = checked("tapvid3d", tmp_path, "full")
    assert (kinds(report), report.items, report.missing) == (
        ["missing"],
        106,
        106 - int((tmp_path / "pstudio" / "tennis_1.npz").is_file()),
    )


def test_scenes_without_parts_are_to_train_on(tmp_path: Path) -> None:
    rendered(tmp_path)
    assert kinds(checked("kubric-movi-e", tmp_path, "train")) == ["complete"]
    [finding] = checked("kubric-movi-e", tmp_path, "validation").findings
    assert "no folder validation" in finding.text


def test_demonstrations_are_counted(tmp_path: Path) -> None:
    episode = {"frames": np.zeros((2, 4, 4, 3), np.uint8), "own": np.zeros((2, 1), np.float32)}
    episode |= {"actions": np.zeros((2, 2), np.float32), "successes": np.ones(2, bool)}
    (tmp_path / "hammer").mkdir()
    np.savez(tmp_path / "hammer" / "episode-0000.npz", **episode)  # pyright: ignore[reportArgumentType]
    about = {"action_size": 2, "own_size": 1, "horizon": 9, "task": "hammer", "camera": "corner2"}
    write(tmp_path, {"hammer/demos.json": {**about, "episodes": [{"file": "episode-0000.npz", "seed": 0}]}})
    assert kinds(checked("metaworld", tmp_path, "train", items=1)) == ["complete"]
    (tmp_path / "hammer" / "episode-0000.npz").write_bytes(b"")
    assert kinds(checked("metaworld", tmp_path, "train")) == ["unreadable"]


def test_pairs_need_texts(tmp_path: Path) -> None:
    make_image(tmp_path / "a.jpg", (1, 2, 3))
    (tmp_path / "out").mkdir()
    samples = FileSamples([("a", {"jpg": tmp_path / "a.jpg", "cls": b"0"})])
    write_shards(iter(samples), tmp_path / "out", "shard", samples_per_shard=2, bytes_per_shard=10**9)
    [finding] = checked("webli", tmp_path / "out", "train").findings
    assert "wanted an image and one of txt" in finding.text


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no split 'valid'; it has train, val"):
        choose_parts(DATA_SETS["imagenet"], ["valid"])
    with pytest.raises(BadInput, match="it was never published"):
        reader_of(DATA_SETS["jft-300m"])
    (tmp_path / "a.xyz").write_bytes(b"")
    with pytest.raises(BadInput, match="neither an image"):
        open_media(tmp_path / "a.xyz")


def test_every_data_set_says_what_is_known_of_it() -> None:
    for name, each in DATA_SETS.items():
        assert all((each.title, each.what, each.address, each.licence, each.size, each.used_by)), name
        assert each.reader is not None or each.no_reader, name
        assert (each.reader is None) == (not each.parts), name
        assert each.reader is None or each.layout, name
        if each.reader is not None:
            assert callable(reader_of(each))
    counted = [part for each in DATA_SETS.values() for part in each.parts if isinstance(part, Part) and part.items]
    assert len(counted) > 100


def test_videos_of_itto_are_read_with_their_marks(tmp_path: Path) -> None:
    frames, marks = tmp_path / "mose" / "frames" / "a", tmp_path / "mose" / "annotations" / "a"
    frames.mkdir(parents=True)
    marks.mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (16, 8)).save(frames / f"{number:05d}.jpg")
    for kind in ("gradient", "random"):
        np.save(marks / f"a_{kind}.npy", np.ones((2, 3, 4)))
    assert kinds(checked("itto", tmp_path, "test", items=1)) == ["complete"]
    np.save(marks / "a_random.npy", np.ones((2, 4, 4)))
    assert any("copy them again" in finding.text for finding in checked("itto", tmp_path, "test").findings)
