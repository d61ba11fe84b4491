"""500 damaged videos, made from a seed: each gives its frames and an honest report, or one clear line."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from support.scripts import script
from tapetum.types import Tracks
from tapetum.video import open_video

hostile_corpus = script("evidence/hostile-videos/videos.py")
BUGS, DAMAGES, FRAMES, SOURCES = (getattr(hostile_corpus, name) for name in ("BUGS", "DAMAGES", "FRAMES", "SOURCES"))
Corpus, Reader, digests = hostile_corpus.Corpus, hostile_corpus.Reader, hostile_corpus.digests
Run = Callable[..., tuple[int, str, str]]
EACH = len(SOURCES) * len(DAMAGES)
"""Files in which each damage of each codec comes once."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clean")


@pytest.fixture(scope="module")
def corpus(folder: Path) -> Corpus:
    return Corpus.make(folder)


@pytest.mark.slow
def test_five_hundred_damaged_videos(corpus: Corpus, folder: Path, tmp_path: Path) -> None:
    truth = {name: digests(folder / name) for name in SOURCES}
    found = {}
    with Reader() as reader:
        for number in range(500):
            path = corpus.write(number, tmp_path)
            found[path.name] = reader.read(path, truth[path.name.split("-")[2]])
            path.unlink()
    counts = Counter(outcome.kind for outcome in found.values())
    assert not {name: outcome for name, outcome in found.items() if outcome.kind in BUGS}
    assert counts["told"] > 150, counts
    assert counts["refused"] > 50, counts
    assert max(outcome.megabytes for outcome in found.values()) < 500


@pytest.mark.slow
def test_the_command_line_tells_what_is_missing_or_says_one_line(run: Run, corpus: Corpus, tmp_path: Path) -> None:
    codes = Counter()
    for number in range(EACH):
        path, out = corpus.write(number, tmp_path), tmp_path / f"out{number}"
        code, stdout, stderr = run("track", path, "--model", "static", "--grid", 1, "--out", out)
        codes[code] += 1
        assert stderr.count("\n") <= 1, stderr
        if code == 2:
            assert stderr.startswith("tapetum: ")
            assert stdout == ""
            assert not out.exists()
        else:
            report = open_video(path).check()
            assert code == 0
            assert bool(report.damaged) == ("frames are damaged or missing" in stderr)
            assert Tracks.load(out / "tracks.npz").frames == report.decoded
    assert min(codes[0], codes[2]) > 3, codes


def frames_of_an_avi(data: bytes) -> list[slice]:
    places, at = [], data.index(b"movi") + 4
    while data[at : at + 4] == b"00dc":
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        places.append(slice(at, at + 8 + size + size % 2))
        at = places[-1].stop
    return places


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("taken_out", [True, False], ids=["deleted", "zeroed"])
def test_lost_frames_are_counted_exactly(corpus: Corpus, tmp_path: Path, count: int, taken_out: bool) -> None:
    """Motion JPEG, in which no frame needs another: the truth is known."""
    data, path = corpus.clean["mjpeg.avi"], tmp_path / "a.avi"
    lost = sorted(np.random.default_rng(count).choice(np.arange(1, FRAMES), count, replace=False).tolist())
    kept = [frame for number, frame in enumerate(open_video(_written(path, data))) if number not in lost]
    damaged = bytearray(data)
    for number in reversed(lost):
        place = frames_of_an_avi(data)[number]
        if taken_out:
            del damaged[place]
        else:
            damaged[place.start + 8 : place.stop] = bytes(place.stop - place.start - 8)
    video = open_video(_written(path, bytes(damaged)))
    report = video.check()
    assert (report.promised, report.decoded, report.damaged) == (FRAMES, FRAMES - count, count)
    assert np.array_equal(video[:], kept)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_nothing_is_missing_from_a_whole_file(folder: Path, corpus: Corpus) -> None:
    for name in SOURCES:
        report = open_video(folder / name).check()
        assert (report.promised, report.decoded, report.damaged) == (FRAMES, FRAMES, 0)


def test_an_absurd_rate_is_not_passed_on(corpus: Corpus, tmp_path: Path) -> None:
    for number, unit in [(2**31 - 1, 1), (1, 2**31 - 1), (3_000_000, 1)]:
        data = bytearray(corpus.clean["mjpeg.avi"])
        at = data.index(b"strh") + 28  # dwScale, dwRate
        assert data[at : at + 8] == (1).to_bytes(4, "little") + (25).to_bytes(4, "little")
        data[at : at + 8] = unit.to_bytes(4, "little") + number.to_bytes(4, "little")
        video = open_video(_written(tmp_path / "a.avi", bytes(data)))
        assert len(list(video)) == FRAMES
        assert video.frame_rate == 25
        assert np.isfinite(video.timestamps).all()
