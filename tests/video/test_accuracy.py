"""Frame i is frame i, however it is reached."""

import os
import threading
from fractions import Fraction

import numpy as np
import pytest

from tapetum.video import open_video
from tapetum.video.decode import FileDecoder

X265 = "keyint=10:log-level=none:pools=1:frame-threads=1"
CLOSED = {"bf": "3", "g": "10"}
OPEN = {"bf": "3", "g": "10", "x264-params": "open-gop=1:b-pyramid=normal:scenecut=0"}
REFRESH = {"bf": "2", "x264-params": "intra-refresh=1:keyint=8"}

CASES = [
    ("closed.mp4", "libx264", CLOSED, "yuv420p"),
    ("open.mp4", "libx264", OPEN, "yuv420p"),
    ("open.ts", "libx264", OPEN, "yuv420p"),
    ("open.mkv", "libx264", OPEN, "yuv420p"),
    ("refresh.mp4", "libx264", REFRESH, "yuv420p"),
    ("refresh.ts", "libx264", REFRESH, "yuv420p"),
    ("times_wrong.avi", "libx264", CLOSED, "yuv420p"),
    ("no_times.h264", "libx264", CLOSED, "yuv420p"),
    ("open.hevc.mp4", "libx265", {"x265-params": "open-gop=1:" + X265}, "yuv420p10le"),
    ("b.mpg", "mpeg2video", {"bf": "2", "g": "9"}, "yuv420p"),
    ("b.avi", "mpeg4", {"bf": "2", "g": "9"}, "yuv420p"),
    ("hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "8", "g": "12", "cpu-used": "5"}, "yuv420p"),
    ("v.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "10"}, "yuv420p"),
    ("v.mjpeg", "mjpeg", {}, "yuvj420p"),
    ("v.gif", "gif", {}, "rgb8"),
]


@pytest.mark.parametrize(("name", "codec", "options", "pix_fmt"), CASES, ids=[case[0] for case in CASES])
def test_random_access_equals_sequential(clip, name, codec, options, pix_fmt):
    path = clip(name, codec, options=options, pix_fmt=pix_fmt)
    sequential = np.stack(list(open_video(path)))
    assert len(sequential) == 30
    video = open_video(path)
    assert len(video) == 30
    for index in np.random.default_rng(0).permutation(30):
        assert np.array_equal(video[int(index)], sequential[index]), index
    assert np.array_equal(open_video(path)[::-4], sequential[::-4])
    assert video.check().damaged == 0


def test_frames_to_which_none_refers_are_not_decoded_on_the_way(clip, monkeypatch):
    path = clip("b.mp4", options={"bf": "3", "g": "30", "x264-params": "b-adapt=0:b-pyramid=normal:scenecut=0"})
    decoded, decode = [], FileDecoder._decode
    monkeypatch.setattr(FileDecoder, "_decode", lambda *given: decoded.append(decode(*given)) or decoded[-1])
    sequential = list(open_video(path))
    video = open_video(path)
    assert len(video) == 30
    decoded.clear()
    assert np.array_equal(video[26], sequential[26])
    assert sum(map(len, decoded)) <= 18  # of every four frames two are referred to
    assert np.array_equal(video[27], sequential[27])


@pytest.mark.parametrize("cut", [5, 12])
def test_edit_list_hides_the_beginning(clip, image, cut):
    path = clip(
        "cut.mp4",
        "libx264rgb",
        options={"qp": "0", "bf": "3", "g": "10"},
        pix_fmt="rgb24",
        pts=list(range(-cut, 30 - cut)),
        time_base=Fraction(1, 25),
        muxer={"avoid_negative_ts": "disabled", "use_editlist": "1"},
    )
    video = open_video(path)
    assert len(video) == 30 - cut
    assert video.timestamps[0] == 0
    for index in (30 - cut - 1, 0, 6):
        assert np.array_equal(video[index], image(index + cut, 96, 64)), index
    report = video.check()
    assert (report.promised, report.decoded, report.damaged) == (30 - cut, 30 - cut, 0)


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_rate_keeps_true_times(clip, name):
    times = np.cumsum(np.random.default_rng(1).integers(5, 90, 30)).tolist()
    video = open_video(clip(name, options=CLOSED, pts=times))
    assert np.allclose(video.timestamps, np.array(times) / 1000, atol=1e-9)
    assert video.frame_rate == pytest.approx(29 / (times[-1] - times[0]) * 1000, rel=0.02)
    assert np.array_equal(video[20], list(open_video(video._path))[20])


def test_threads_share_a_video(clip):
    video = open_video(clip("a.mp4", options=OPEN))
    whole = np.stack(list(video))
    wrong = []

    def read(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, 30, 25):
            if not np.array_equal(video[int(index)], whole[index]):
                wrong.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_does_not_share_the_place_in_the_file(clip):
    video = open_video(clip("a.mp4", options=CLOSED))
    whole = np.stack(list(video))
    video[5]
    child = os.fork()
    if child == 0:
        same = all(np.array_equal(video[i], whole[i]) for i in (22, 3, 14))
        os._exit(0 if same else 1)
    assert all(np.array_equal(video[i], whole[i]) for i in (6, 7, 25, 1))
    assert os.waitpid(child, 0)[1] == 0
