"""Frames that are held: not decoded again, the same to the bit, never more than there is room for."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tapetum.video import open_video
from tapetum.video.decode import FileDecoder

N = 30
BYTES = 96 * 64 * 3 // 2
"""Of a frame of `clip` in YUV 4:2:0, if its rows have no padding."""


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each frame, by its time in 1/25 s, came out of FFmpeg from now on."""
    count: Counter[int] = Counter()
    decode = FileDecoder._decode

    def counted(self: FileDecoder, packet: object) -> list:
        frames = decode(self, packet)  # type: ignore[arg-type]
        count.update(round(25 * (frame.pts or 0) * self.time_base) for frame in frames)
        return frames

    monkeypatch.setattr(FileDecoder, "_decode", counted)
    return count


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.mov", "qtrle", "rgb24"),
        ("a.gif", "gif", "pal8"),
    ],
)
def test_held_frames_are_decoded_once_and_are_the_same(clip, decoded, name, codec, pix_fmt) -> None:
    options = {"bf": "2"} if codec == "libx264" else None
    path = clip(name, codec, pix_fmt="rgb8" if pix_fmt == "pal8" else pix_fmt, options=options)
    truth = np.stack(list(open_video(path)))
    video = open_video(path)
    decoded.clear()
    video.cache_frames()
    assert video.check().damaged == 0
    for frame, true in zip(video, truth, strict=True):
        assert np.array_equal(frame, true)
        frame[:] = 0  # it is the caller's own
    assert np.array_equal(video[:], truth)
    assert np.array_equal(video[[9, 3, -1]], truth[[9, 3, -1]])
    assert np.array_equal(np.stack([b for _, b in zip(video, video, strict=True)]), truth)
    assert sum(decoded.values()) == N
    assert max(decoded.values()) == 1


def test_what_has_no_room_is_decoded_by_every_pass_and_from_a_key_frame(clip, decoded) -> None:
    path = clip("a.mp4", options={"g": "10", "keyint_min": "10", "sc_threshold": "0", "bf": "0"})
    truth = np.stack(list(open_video(path)))
    probe = open_video(path)
    probe.cache_frames()
    probe.check()
    room = probe._cache.free_bytes  # type: ignore[attr-defined, union-attr]
    each = ((512 << 20) - room) // N
    assert BYTES <= each < 2 * BYTES
    video = open_video(path)
    video.cache_frames(13 * each + 5)
    video.check()
    decoded.clear()
    for _ in range(2):
        assert np.array_equal(np.stack(list(video)), truth)
    assert decoded == Counter(dict.fromkeys(range(10, N), 2))  # 0..12 are held; 10 is the key frame before 13
    assert np.array_equal(video[5:20], truth[5:20])
    assert len(video._cache) == 13  # type: ignore[attr-defined]


def test_damage_is_told_and_shown_as_without(clip) -> None:
    path = clip("a.mkv", n=N)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data[:-900])
    plain, held = open_video(path), open_video(path)
    held.cache_frames()
    assert plain.check() == held.check()
    assert held.report.damaged > 0
    assert len(held) == len(plain) < N
    assert np.array_equal(np.stack(list(held)), np.stack(list(plain)))
    assert np.array_equal(held[3:9], plain[3:9])


CHILD = """
import sys
from pathlib import Path
from tapetum.video import open_video

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024

for frame in open_video(sys.argv[1]):  # whatever a pass takes for itself
    pass
before = resident()
video = open_video(sys.argv[1])
video.cache_frames(int(sys.argv[2]) << 20)
video.check()
for frame in video:
    pass
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_no_more_memory_is_taken_than_there_is_room(clip) -> None:
    path = clip("long.mp4", n=120, size=(640, 480), options={"preset": "ultrafast"})  # 55 MB in YUV

    def taken(room: int) -> float:
        child = [sys.executable, "-c", CHILD, str(path), str(room)]
        return float(subprocess.run(child, check=True, capture_output=True, text=True).stdout)

    assert taken(512) > 45
    assert taken(16) < 16 + 8
