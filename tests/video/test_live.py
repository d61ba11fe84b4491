"""Live sources that misbehave: each ends in a typed error or goes on, with times that do not go back, in frames of one size."""

import io
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import tapetum
from tapetum.core.errors import BadInput
from tapetum.types import Tracks
from tapetum.video import LiveVideo, live


def image(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (height // 8, width // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, 0).repeat(8, 1)


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def write(path: Path, times: Iterable[int], rate: int = 25, codec: str = "mpeg4") -> Path:
    """Write a video whose frames have these times, in milliseconds, or in frames for MPEG-2."""
    base = Fraction(1, rate) if codec == "mpeg2video" else Fraction(1, 1000)
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = base
        for seed, moment in enumerate(times):
            frame = av.VideoFrame.from_ndarray(image(seed))
            frame.pts, frame.time_base = moment, base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@contextmanager
def served(parts: Iterable[bytes], kind: str, hangs: bool) -> Iterator[str]:
    """Serve bytes over HTTP on this machine, part by part; then close the connection, or hang until the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = threading.Event()

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: {kind}\r\n\r\n".encode())
                for part in parts:
                    connection.sendall(part)
                if hangs:
                    done.wait(20)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/camera"
        finally:
            done.set()
            thread.join(5)


def test_a_source_that_changes_its_size_ends_with_an_error_and_no_such_frame(tmp_path: Path) -> None:
    path = tmp_path / "camera.mjpeg"
    path.write_bytes(b"".join([jpeg(image(k)) for k in range(4)] + [jpeg(image(k, 96, 128)) for k in range(4)]))
    shapes = []
    with LiveVideo(str(path)) as video, pytest.raises(BadInput, match="from 64x48 to 128x96 pixels at frame 4; start again"):
        shapes.extend(moment.frame.shape for moment in video)
    assert shapes == [(48, 64, 3)] * 4
    with pytest.raises(BadInput, match="from 64x48 to 128x96") as caught:
        tapetum.track_live(str(path), model="static", grid=2, out=tmp_path / "out")
    assert "4 frames, is in" in caught.value.__notes__[0]
    assert Tracks.load(tmp_path / "out" / "tracks.npz").frames == 4, "what was tracked until then stays"


def test_times_jump_ahead_as_the_source_says_and_never_back(tmp_path: Path) -> None:
    ahead = write(tmp_path / "ahead.mkv", [0, 40, 80, 60_000, 60_040])
    with LiveVideo(str(ahead)) as video:
        assert [moment.time_s for moment in video] == pytest.approx([0, 0.04, 0.08, 60, 60.04])
    once = write(tmp_path / "once.ts", range(4), codec="mpeg2video").read_bytes()
    twice = tmp_path / "twice.ts"
    twice.write_bytes(once + once)  # its clock begins anew in the middle
    with LiveVideo(str(twice)) as video:
        times = [moment.time_s for moment in video]
    assert len(times) >= 7
    np.testing.assert_allclose(np.diff(times), 1 / 25, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("hangs", [False, True])
def test_a_camera_over_http_that_stops(monkeypatch: pytest.MonkeyPatch, hangs: bool) -> None:
    monkeypatch.setattr(live, "_PATIENCE", 1)
    images = [jpeg(image(seed)) for seed in range(20)]
    parts = [b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(one), one) for one in images]
    frames = []
    with (
        served(parts, "multipart/x-mixed-replace; boundary=frame", hangs) as address,
        LiveVideo(address.replace("http://", "http://ann:secret@"), drop=False) as video,
        pytest.raises(BadInput, match=f"ended with an error .*{'nothing came for 1 s' if hangs else ''}.*; check the source"),
    ):
        frames.extend(moment.frame for moment in video)
    assert len(frames) == 20, "all that came is handed out"
    assert video.name == address.replace("http://", "http://...@")
    assert np.abs(frames[5].astype(int) - image(5)).mean() < 20


@pytest.mark.parametrize("burst", [1, 2, 5, 10])
def test_bursts_are_not_late_and_what_waits_too_long_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, burst: int) -> None:
    """Frames of a clock of 30 a second that come `burst` at a time; each takes 20 ms, but for a pause in the middle."""
    video = LiveVideo(str(write(tmp_path / "clip.mkv", range(0, 80, 40))), drop=True)
    video.close()
    frame, now, taken = image(0), 0.0, []
    arrivals = [(k // burst * burst + burst - 1) / 30 for k in range(300)]
    coming = [live.CapturedFrame(frame, k, 100 + arrival, k / 30) for k, arrival in enumerate(arrivals)]
    while coming or video._waiting:
        if not video._waiting:
            now = max(now, coming[0].arrived)
        while coming and coming[0].arrived <= now:
            video._add(coming.pop(0))
        video._drop_late(now)
        taken.append(video._waiting.popleft().number)
        now += 0.02 if len(taken) != 150 else 1.0
    assert taken[:150] == list(range(150))
    assert video.dropped == 300 - len(taken)
    assert 30 - 0.1 * 30 - burst - 1 <= video.dropped <= 30  # of a second those within --lag are made up for
    assert taken[-1] == 299
    monkeypatch.setattr(live, "_ROOM", 5 * image(0).nbytes)
    for k in range(20):  # and a source faster than its times fills no memory
        video._add(live.CapturedFrame(image(0), k, 200 + k / 300, 10 + k / 30))
    assert [each.number for each in video._waiting] == [15, 16, 17, 18, 19]
