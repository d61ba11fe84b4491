"""Live tracking from a real pipe and a real network stream, beside the same frames tracked from a file."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

import tapetum
from support.forks import free_port
from support.networks import save_tapir
from tapetum.video import LiveVideo, open_video, write_video

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tapir(tmp_path_factory.mktemp("model") / "causal.safetensors", causal=True)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tapetum.app.shell.main", "track", *map(str, arguments)]


@pytest.mark.slow
def test_a_pipe_gives_what_the_file_gives(model: Path, clip: Path, tmp_path: Path) -> None:
    points = tmp_path / "points.csv"
    points.write_text("t,x,y\n3,40,30\n0,20,22\n0,50.5,10\n")
    options = ["--online", "--model", model, "--points", points, "--out", tmp_path / "out"]
    stdout = subprocess.run(
        command("-", *options, "--preview", tmp_path / "preview.mjpeg", "--json"),
        input=clip.with_suffix(".mkv").read_bytes() if clip.with_suffix(".mkv").exists() else as_matroska(clip),
        capture_output=True,
        check=True,
    ).stdout
    *lines, summary = map(json.loads, stdout.splitlines())
    assert (summary["type"], summary["frames"], summary["frames_dropped"], summary["points"]) == ("summary", 6, 0, 3)
    assert [(line["type"], line["frame"], len(line["points"])) for line in lines] == [
        ("frame", k, 2 + (k >= 3)) for k in range(6)
    ]
    assert [line["time_s"] for line in lines] == pytest.approx([k / 10 for k in range(6)])
    assert 0 < summary["latency_ms_median"] <= summary["latency_ms_95"] <= summary["latency_ms_max"]
    queries = np.array([[0, 20, 22], [0, 50.5, 10], [3, 40, 30]], np.float32)
    tracker = tapetum.load(model)
    with np.load(tmp_path / "out" / "tracks.npz") as live:
        for k, line in enumerate(lines):
            for point in line["points"]:
                assert [point["x"], point["y"]] == pytest.approx(live["xy"][point["id"], k].tolist(), abs=1e-3)
                assert point["confidence"] == pytest.approx(float(live["confidence"][point["id"], k]), abs=1e-4)
                assert point["visible"] == live["visible"][point["id"], k]
        assert np.allclose(live["times"], np.arange(6) / 10)
        assert np.array_equal(live["queries"], queries)
        assert np.array_equal(live["xy"][2, :3], np.broadcast_to(queries[2, 1:], (3, 2)))
        assert not live["visible"][2, :3].any()
        stream = None
        with open_video(clip) as video:
            for number, frame in enumerate(video):
                if number == 0:
                    stream = tracker.start(frame, queries[:2, 1:])
                if number == 3:
                    stream = tracker.add(stream, frame, queries[2:, 1:])
                stream, seen = tracker.step(stream, frame)
                np.testing.assert_allclose(live["xy"][: len(stream), number], seen.xy, atol=1e-4)
                np.testing.assert_allclose(live["confidence"][: len(stream), number], seen.confidence, atol=1e-5)
    with open_video(tmp_path / "out" / "overlay.mp4") as overlay:
        assert (len(overlay), overlay.width, overlay.height) == (6, 64, 48)
    preview = (tmp_path / "preview.mjpeg").read_bytes()
    assert preview.count(b"\xff\xd8\xff") == 6
    with Image.open(tmp_path / "preview.mjpeg") as image:
        assert image.size == (64, 48)


def as_matroska(clip: Path) -> bytes:
    """The frames of a clip in a container that can be piped."""
    path = clip.with_suffix(".mkv")
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path.read_bytes()


SERVER = """
import sys, time, av, numpy as np
port, count, rate = map(int, sys.argv[1:])
with av.open(f"tcp://127.0.0.1:{port}?listen=1", "w", format="mpegts") as container:
    stream = container.add_stream("mpeg2video", rate=rate)
    stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
    for number in range(count):
        frame = np.full((64, 96, 3), 5 * number, np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        time.sleep(1 / rate)
    container.mux(stream.encode(None))
"""
"""Sends grey frames, each brighter than the one before, at their own pace to whoever connects."""


def opened(address: str) -> LiveVideo:
    for _ in range(2400):
        try:
            return LiveVideo(address)
        except tapetum.core.errors.BadInput:
            time.sleep(0.05)
    raise AssertionError("the server never answered")


@pytest.mark.slow
def test_a_slow_consumer_of_a_network_stream_drops_frames_and_sees_the_newest() -> None:
    port = free_port()
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(port), "40", "25"])
    with opened(f"tcp://127.0.0.1:{port}") as live:
        seen = []
        for moment in live:
            seen.append(moment.number)
            assert abs(int(moment.frame[32, 48, 1]) - 5 * moment.number) <= 6, "the frame is the one that the number says"
            time.sleep(0.1)
        assert seen == sorted(set(seen))
        assert len(seen) < 30
        assert seen[-1] == 39
        assert live.dropped == 40 - len(seen)
    assert server.wait(timeout=600) == 0


@pytest.mark.slow
def test_ctrl_c_ends_a_live_run_with_its_results(model: Path, clip: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("-", "--online", "--model", model, "--grid", "3", "--out", tmp_path / "out", "--preview", tmp_path / "p"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    with open_video(clip) as video:
        frame = b"FRAME\n" + np.stack(list(video)).mean(-1).astype(np.uint8)[0].tobytes()
    pipe = process.stdin

    def send() -> None:  # more than is ever taken
        with contextlib.suppress(BrokenPipeError):
            pipe.write(b"YUV4MPEG2 W64 H48 F25:1 Cmono\n" + 2000 * frame)

    writer = threading.Thread(target=send)
    writer.start()
    deadline = time.monotonic() + 600
    while not ((tmp_path / "p").exists() and (tmp_path / "p").stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=600)
    assert process.stderr is not None
    err = process.stderr.read()
    writer.join()
    with contextlib.suppress(BrokenPipeError):
        pipe.close()
    assert process.returncode == 0, err
    assert b"interrupted; writing what was followed" in err
    with np.load(tmp_path / "out" / "tracks.npz") as tracks:
        assert 1 <= tracks["xy"].shape[1] <= 2000


@pytest.mark.slow
def test_pipes_that_end_early_on_either_side(model: Path, clip: Path, tmp_path: Path) -> None:
    with open_video(clip) as video:
        frames = [b"FRAME\n" + frame[..., 0].tobytes() for frame in video]
    whole = b"".join([b"YUV4MPEG2 W64 H48 F25:1 Cmono\n", *frames])
    words = command("-", "--online", "--model", model, "--grid", 2, "--no-overlay", "--json", "--out", tmp_path / "out")

    def tracked(sent: bytes, reader: str) -> tuple[list[str], list[str], int]:
        """The lines that the reader of stdout gets, those on stderr, and how many frames were written."""
        script = f'"$@" | {reader}; exit ${{PIPESTATUS[0]}}'
        done = subprocess.run(["bash", "-c", script, "-", *words], input=sent, capture_output=True, check=False)
        with np.load(tmp_path / "out" / "tracks.npz") as tracks:
            return (
                done.stdout.decode().splitlines(),
                [*done.stderr.decode().splitlines(), str(done.returncode)],
                tracks["xy"].shape[1],
            )

    out, err, count = tracked(whole, "cat")
    assert (len(out), err, count) == (7, ["0"], 6)
    out, err, count = tracked(whole[:-50], "cat")
    assert (len(out), err[-1], count) == (5, "2", 5)
    assert err[:-1] == [
        "tapetum: the video ended within a frame; check what sends it; what was followed until then, 5 frames, is in "
        f"{tmp_path / 'out'}"
    ]
    out, err, count = tracked(whole, "head -1")
    assert (len(out), err) == (1, ["141"])
    assert count >= 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("99", "camera 99 cannot be opened"),
        ("rtsp://127.0.0.1:9/x", "rtsp://127.0.0.1:9/x is not a video that can be read"),
        ("ftp://127.0.0.1/x", "begins with ftp://"),
    ],
)
def test_sources_that_are_not_there(run: Run, model: Path, tmp_path: Path, source: str, message: str) -> None:
    code, out, err = run("track", source, "--online", "--model", model, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_playlist_in_a_pipe_is_refused(model: Path, tmp_path: Path) -> None:
    secret = write_video(tmp_path / "secret.mp4", np.zeros((3, 32, 32, 3), np.uint8), 10)
    result = subprocess.run(
        command("-", "--online", "--model", model, "--out", tmp_path / "out"),
        input=f"ffconcat version 1.0\nfile {secret}\n".encode(),
        capture_output=True,
        check=False,
    )
    assert result.returncode == 2
    assert b"standard input is not a video that can be read" in result.stderr


@pytest.mark.slow
def test_an_mp4_in_a_pipe_that_ends_with_its_index(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "plain.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mpeg4", rate=10, options={"qscale": "2"}, width=320, height=240)
        for seed in range(20):
            noise = np.random.default_rng(seed).integers(0, 256, (240, 320, 3), dtype=np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(noise)))
        file.mux(stream.encode())
    data = path.read_bytes()
    assert data.index(b"moov") > data.index(b"mdat")
    result = subprocess.run(
        command("-", "--online", "--model", model, "--out", tmp_path / "out"), input=data, capture_output=True, check=False
    )
    assert result.returncode == 2
    assert b"give the file itself" in result.stderr
    assert result.stderr.count(b"\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_online_asks_for(run: Run, clip: Path, tmp_path: Path) -> None:
    code, _, err = run("track", clip, "--online", "--model", "tapir-nano", "--out", tmp_path / "out")
    assert code == 2
    assert "needs the future" in err
    code, _, err = run("track", clip, "--preview", "x.mjpeg", "--model", "static", "--out", tmp_path / "out")
    assert code == 2
    assert "--preview belongs to --online" in err


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, b"kept until the first frame"])
def test_a_pipe_that_holds_nothing_leaves_no_preview(model: Path, tmp_path: Path, before: bytes | None) -> None:
    preview = tmp_path / "p.mjpeg"
    if before:
        preview.write_bytes(before)
    result = subprocess.run(
        command("-", "--online", "--model", model, "--out", tmp_path / "out", "--preview", preview),
        input=b"no video",
        capture_output=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.count(b"\n") == 1
    assert not (tmp_path / "out").exists()
    assert (preview.read_bytes() if preview.exists() else None) == before


def test_a_window_needs_a_display(run: Run, model: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if not sys.platform.startswith("linux"):
        pytest.skip("elsewhere there is always one")
    code, _, err = run("track", clip, "--online", "--model", model, "--preview", "window", "--out", tmp_path / "out")
    assert code == 2
    assert "there is no display" in err
    assert os.listdir(tmp_path) == []
