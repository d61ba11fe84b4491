"""Files that are broken, empty, huge or malicious: one clear line each, nothing followed, nothing left open."""

import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.video import open_video


def _encode(path: Path, codec: str = "libx264", n: int = 20, muxer: dict[str, str] | None = None) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    with av.open(str(path), "w", options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=25, options={} if codec == "mjpeg" else {"g": "8", "bf": "2"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(n):
            frame = av.VideoFrame.from_ndarray(np.roll(noise, number * 3, 1), format="rgb24")
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


def _refused(source: object, words: str) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        open_video(source)
    assert "\n" not in str(caught.value)


def test_nothing_there(tmp_path):
    _refused(tmp_path / "none.mp4", "there is no file")
    _refused("", "the name of a file or folder is empty")
    _refused("a\0b.mp4", "cannot read|there is no file")
    _refused("x" * 5000, "cannot read|there is no file")


def test_empty_file(tmp_path):
    for name in ("a.mp4", "a.npy", "a.npz", "a.png", "a.gif"):
        (tmp_path / name).touch()
        _refused(tmp_path / name, "empty")


def test_text_under_another_name(tmp_path):
    for name in ["a.mp4", "a.gif", "a.avi", "a.npy", "a.npz", "a.png", "a.tiff", "a", "a.txt"]:
        (tmp_path / name).write_text("This is a shopping list:\n- bread\n- milk\n" * 40)
        _refused(tmp_path / name, "not a video|not an image|cannot be read as an array|no video stream")


def test_sound_only(tmp_path):
    for name, codec in (("a.mp4", "aac"), ("a.wav", "pcm_s16le"), ("a.mka", "libopus")):
        with av.open(str(tmp_path / name), "w", format="matroska" if name.endswith("mka") else None) as container:
            stream = container.add_stream(codec, rate=48000)
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), format="s16", layout="mono")
            sound.sample_rate = 48000
            container.mux(stream.encode(sound))
            container.mux(stream.encode(None))
        _refused(tmp_path / name, "only sound")


def test_no_frames_in_a_whole_container(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()
    _refused(path, "no frame that can be decoded|not a video")


def test_a_device_or_pipe_is_not_opened(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs named pipes")
    os.mkfifo(tmp_path / "a.mp4")
    _refused(tmp_path / "a.mp4", "not a regular file")
    _refused("/dev/zero", "not a regular file")


@pytest.mark.parametrize(
    ("name", "codec", "muxer"),
    [
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("a.mkv", "libx264", {}),
        ("a.ts", "mpeg2video", {}),
        ("a.avi", "mpeg4", {}),
        ("a.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
    ],
)
@pytest.mark.parametrize("share", [0.5, 0.8, 0.97])
def test_a_truncated_video_yields_its_good_frames(tmp_path, name, codec, muxer, share):
    whole = open_video(_encode(tmp_path / name, codec, muxer=muxer))
    good = np.stack(list(whole))
    data = (tmp_path / name).read_bytes()
    cut = tmp_path / f"cut_{name}"
    cut.write_bytes(data[: int(len(data) * share)])
    video = open_video(cut)
    frames = list(video)
    assert 1 <= len(frames) <= 20
    assert len(frames) < 20 or share > 0.9  # the end of an avi is a table that can be done without
    assert len(video) == len(frames) == len(video.timestamps)
    report = video.report
    assert report.complete
    assert report.decoded == len(frames)
    assert report.promised >= len(frames)
    if name == "a.mp4" and "faststart" in str(muxer):
        assert report.promised == 20
        assert report.damaged >= 20 - len(frames)
    exact = sum(any(np.array_equal(frame, g) for g in good) for frame in frames)
    assert exact >= len(frames) - 2
    fresh = open_video(cut)
    assert np.array_equal(fresh[:], np.stack(frames))
    with pytest.raises(IndexError):
        fresh[len(frames)]


def test_a_truncated_video_without_its_table_is_refused(tmp_path):
    data = _encode(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    _refused(tmp_path / "cut.mp4", "not a video that can be read")


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv"])
def test_damage_in_the_middle(tmp_path, name):
    data = bytearray(_encode(tmp_path / name, n=40).read_bytes())
    start = len(data) // 2
    data[start : start + 3000] = bytes(3000)
    (tmp_path / f"b_{name}").write_bytes(data)
    video = open_video(tmp_path / f"b_{name}")
    report = video.check()
    assert report.damaged > 0
    frames = list(video)
    assert len(frames) == len(video) == report.decoded > 10
    for index in (len(frames) - 1, 3, len(frames) // 2):
        assert np.array_equal(video[index], frames[index])


def test_damage_met_by_random_access_mends_the_index(tmp_path):
    path = _encode(tmp_path / "a.mkv", "mjpeg", n=12)
    frames = list(open_video(path))
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    at = data.index(packets[5])
    data[at : at + len(packets[5])] = bytes(len(packets[5]))
    path.write_bytes(data)
    video = open_video(path)
    assert len(video) == 12
    assert np.array_equal(video[5], frames[6])
    assert len(video) == 11
    assert video.report.damaged == 1
    assert len(video.timestamps) == 11


def test_a_change_of_size_is_named(tmp_path):
    parts = []
    for size in (64, 32):
        path = tmp_path / f"{size}.ts"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
            for _ in range(5):
                container.mux(stream.encode(av.VideoFrame(size, size, "yuv420p")))
            container.mux(stream.encode(None))
        parts.append(path.read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    with pytest.raises(BadInput, match="32x32 but the video began as 64x64"):
        list(open_video(tmp_path / "both.ts"))


def test_a_damaged_frame_in_a_folder_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for number in range(3):
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
    data = (tmp_path / "1.png").read_bytes()
    (tmp_path / "1.png").write_bytes(data[:2000])
    video = open_video(tmp_path)
    with pytest.raises(BadInput, match=r"1\.png is damaged"):
        list(video)
    (tmp_path / "1.png").write_bytes(b"text")
    _refused(tmp_path, r"1\.png is not an image")


def test_a_truncated_array_file(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 8, 8, 3), np.uint8))
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:500])
    _refused(tmp_path / "a.npy", "cannot be read as an array")
    np.savez(tmp_path / "a.npz", np.zeros((9, 8, 8, 3), np.uint8))
    data = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(data[: len(data) // 2])
    _refused(tmp_path / "a.npz", "cannot be read as an array")


def test_nothing_is_printed_by_ffmpeg(tmp_path):
    path = _encode(tmp_path / "a.ts", "mpeg2video")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 900] = bytes(900)
    path.write_bytes(data)
    code = f"from tapetum.video import open_video; open_video({str(path)!r}).check()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout == done.stderr == ""
