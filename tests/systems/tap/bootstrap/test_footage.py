"""Folders of videos to clips: cuts, what is left out, damage, going on, full disks."""

import hashlib
import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.systems.tap.bootstrap.footage import FootageConfig, FootageDataset, prepare_all, shots, write_report
from tapetum.video import open_video, write_video
from tapetum.video.images import find_videos

Drift = Callable[..., np.ndarray]
CONFIG = FootageConfig(size=32, shortest=5, longest=10, shard=2)


def clips_of(folder: Path, out: Path, config: FootageConfig = CONFIG) -> FootageDataset:
    return prepare_all(folder, out, config)


def test_shots_are_cut_where_they_change_and_unfit_ones_are_left_out(tmp_path: Path, drift: Drift) -> None:
    parts = {"a": drift(0, 13), "short": drift(1, 4), "b": drift(2, 8), "still": drift(3, 9, step=0), "c": drift(4, 7)}
    parts["dark"] = np.full((9, 48, 64, 3), 3, np.uint8)
    parts["blank"] = np.full((9, 48, 64, 3), 140, np.uint8)
    (tmp_path / "in").mkdir()
    intra(tmp_path / "in" / "film.mkv", np.concatenate(list(parts.values())))
    footage = clips_of(tmp_path / "in", tmp_path / "out")
    [record] = footage.records
    assert record["frames"] == 59
    assert record["shots"] == 7
    assert record["left_out"] == {"short": 1, "still": 1, "dark": 1, "blank": 1}
    assert record["trouble"] is None
    assert [(clip.begin, clip.frames) for clip in footage.clips] == [(0, 6), (6, 7), (17, 8), (34, 7)]
    frames = open_video(str(tmp_path / "in" / "film.mkv"))[17:25]
    small = np.stack([np.asarray(Image.fromarray(f).resize((32, 32), Image.Resampling.BILINEAR)) for f in frames])
    np.testing.assert_array_equal(footage[2], small)
    write_report(footage, tmp_path / "report.txt")
    assert (tmp_path / "report.txt").read_text().splitlines() == [
        "film.mkv: 4 clips of 7 shots, 59 frames; left out: 1 short, 1 still, 1 dark, 1 blank",
        "4 clips of 28 frames from 1 videos",
    ]


def intra(path: Path, frames: np.ndarray) -> None:
    """Write a video that codes each frame by itself: in others what stands still may change when the next shot begins."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuvj420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())


def test_motion_flashes_and_noise_are_no_cuts(drift: Drift) -> None:
    quick = drift(5, 20, step=9)
    assert len(list(shots(iter(quick), FootageConfig(size=32)))) == 1
    flash = drift(6, 20)
    flash[10] = 255
    assert len(list(shots(iter(flash), FootageConfig(size=32)))) <= 3  # the flash itself may be one: no clip is that short
    noise = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
    assert len(list(shots(iter(noise), FootageConfig(size=32)))) == 1


@pytest.mark.parametrize("frames", [9, 10, 11, 15, 16, 17, 18, 23, 40, 41])
def test_long_shots_become_even_clips_and_lose_no_frame(tmp_path: Path, frames: int, drift: Drift) -> None:
    (tmp_path / "in").mkdir()
    write_video(tmp_path / "in" / "film.mp4", drift(1, frames), 25)
    footage = clips_of(tmp_path / "in", tmp_path / "out")
    begins = [clip.begin for clip in footage.clips]
    lengths = [clip.frames for clip in footage.clips]
    assert all(CONFIG.shortest <= length <= CONFIG.longest for length in lengths)
    assert sum(lengths) == frames
    assert begins == [sum(lengths[:k]) for k in range(len(lengths))]
    assert len({clip.shard for clip in footage.clips}) == -(-len(lengths) // CONFIG.shard)


def test_damage_is_told_and_the_rest_is_used(tmp_path: Path, drift: Drift) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    write_video(folder / "deep" / "good.mp4", drift(0, 8), 25)
    whole = write_video(folder / "half.mkv.mp4", drift(1, 60), 25).read_bytes()
    (folder / "half.mkv.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    (folder / "empty.avi").touch()
    (folder / "notes.txt").write_text("not a video")
    sizes(folder / "sizes.mkv", drift(3, 14))
    footage = clips_of(folder, tmp_path / "out")
    records = {record["video"]: record for record in footage.records}
    assert set(records) == {"deep/good.mp4", "half.mkv.mp4", "text.mp4", "empty.avi", "sizes.mkv"}
    assert records["deep/good.mp4"]["trouble"] is None
    assert "is empty" in records["empty.avi"]["trouble"]
    assert records["text.mp4"]["trouble"]
    assert records["text.mp4"]["clips"] == []
    assert records["half.mkv.mp4"]["trouble"]
    used = sum(clip["frames"] for clip in records["half.mkv.mp4"]["clips"])
    assert 5 <= used <= records["half.mkv.mp4"]["frames"] < 60  # of what came before the break
    assert "but the video began as 64x48" in records["sizes.mkv"]["trouble"]
    assert "sizes.mkv" not in records["sizes.mkv"]["trouble"]  # the line of a report begins with it
    assert [clip["frames"] for clip in records["sizes.mkv"]["clips"]] == [8]  # what came before the change
    lines = write_report(footage, tmp_path / "report.txt")
    assert len(lines) == 5
    assert len((tmp_path / "report.txt").read_text().splitlines()) == 6


def sizes(path: Path, frames: np.ndarray) -> None:
    """A video of 8 frames of 64x48 pixels, then some of 32x24, as some cameras make them."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        small = av.CodecContext.create("mjpeg", "w")
        small.width, small.height, small.pix_fmt, small.time_base = 32, 24, "yuvj420p", Fraction(1, 25)
        for t, frame in enumerate(frames):
            context = stream.codec_context if t < 8 else small
            image = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(context.width, context.height, "yuvj420p")
            image.pts = t
            for packet in context.encode(image):
                packet.stream = stream
                packet.pts = packet.dts = t * 40
                packet.time_base = Fraction(1, 1000)
                container.mux(packet)


def test_preparation_goes_on_and_refuses_other_settings(tmp_path: Path, drift: Drift) -> None:
    (tmp_path / "in").mkdir()
    for seed in range(3):
        write_video(tmp_path / "in" / f"{seed}.mp4", drift(seed, 8), 25)
    first = clips_of(tmp_path / "in", tmp_path / "out")
    records = sorted((tmp_path / "out" / "videos").glob("*.json"))
    stamps = {file: file.stat().st_mtime_ns for file in records}
    gone = records[1]
    gone.unlink()  # as if the process had been killed before it was written
    left = tmp_path / "out" / "shards" / ".a.123.tmp.npz"
    left.write_bytes(b"half")
    again = clips_of(tmp_path / "in", tmp_path / "out")
    assert again.clips == first.clips
    assert not left.exists()
    assert {file for file in records if file.stat().st_mtime_ns != stamps[file]} == {gone}
    (tmp_path / "in" / "1.mp4").unlink()
    assert {clip.video for clip in clips_of(tmp_path / "in", tmp_path / "out").clips} == {"0.mp4", "2.mp4"}
    write_video(tmp_path / "in" / "1.mp4", drift(7, 9), 25)  # another video of the same name
    assert [clip.frames for clip in clips_of(tmp_path / "in", tmp_path / "out").clips] == [8, 9, 8]
    with pytest.raises(BadInput, match=r"keeps clips made with size 32 \(now 64\)"):
        clips_of(tmp_path / "in", tmp_path / "out", FootageConfig(size=64, shortest=5, longest=10, shard=2))
    shard = tmp_path / "out" / "shards" / first.clips[0].shard
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(BadInput, match="cannot read clips from"):
        first[0]


def test_folders_without_a_clip_are_refused_with_the_reason(tmp_path: Path, drift: Drift) -> None:
    with pytest.raises(BadInput, match="there is no folder"):
        find_videos(tmp_path / "nothing")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x")
    with pytest.raises(BadInput, match=r"has no video in it \(1 other files\)"):
        find_videos(tmp_path / "in")
    write_video(tmp_path / "in" / "three.mp4", drift(0, 3), 25)
    with pytest.raises(
        BadInput, match=r"has no clip to learn from \(1 too short\); give videos with shots of 5 or more frames"
    ):
        clips_of(tmp_path / "in", tmp_path / "out")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "text.mp4").write_text("hello")
    with pytest.raises(BadInput, match=r"no frame could be read; text\.mp4: "):
        clips_of(tmp_path / "bad", tmp_path / "out2")


def test_any_name_any_link_and_what_can_be_read_later(tmp_path: Path, drift: Drift) -> None:
    folder, aside = tmp_path / "in", tmp_path / "aside"
    folder.mkdir()
    aside.mkdir()
    odd = os.fsdecode(b"bad\xff[red]/a.mp4")
    (folder / odd).parent.mkdir()
    write_video(tmp_path / "a.mp4", drift(0, 8), 25)
    (tmp_path / "a.mp4").rename(folder / odd)
    write_video(aside / "b.mp4", drift(1, 8), 25)
    (folder / "link").symlink_to(aside)
    (aside / "back").symlink_to(folder)
    (folder / "later.mp4").write_bytes(b"")
    footage = clips_of(folder, tmp_path / "out")
    assert [clip.video for clip in footage.clips] == [odd, "link/b.mp4"]
    write_report(footage, tmp_path / "report.txt")
    assert "bad\\udcff[red]/a.mp4: 1 clips" in (tmp_path / "report.txt").read_text()
    record = next(file for file in (tmp_path / "out" / "videos").iterdir() if "later" in file.read_text())
    write_video(folder / "later.mp4", drift(2, 8), 25)
    later = (folder / "later.mp4").stat()
    key = hashlib.sha256(f"later.mp4\n{later.st_size}\n{later.st_mtime_ns}".encode()).hexdigest()[:16]
    record.rename(record.with_name(f"{key}.json"))  # as if it had been there, but could not be read
    assert [clip.video for clip in clips_of(folder, tmp_path / "out").clips] == [odd, "later.mp4", "link/b.mp4"]
    (tmp_path / "out" / "footage.json").write_text("")
    with pytest.raises(BadInput, match=r"cannot read .*footage\.json .*; delete .*out and run again"):
        clips_of(folder, tmp_path / "out")
