"""Pickles of long strings: read a part at a time, equal to the standard reader, in the memory of one part."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tapetum.core.errors import BadInput
from tapetum.hub.pickle_file import LONG
from tapetum.hub.unpickle import Item, load_pickle, loads, open_pickle

rng = np.random.default_rng(0)
SHARED = rng.bytes(2 * LONG)
LARGE: dict[str, Any] = {
    "frames": rng.integers(0, 255, (6, 20, 30, 3), np.uint8),
    "readonly": np.frombuffer(rng.bytes(8 * LONG), np.float32).reshape(-1, 2),
    "fortran": np.asfortranarray(rng.random((40, 50))),
    "occluded": rng.random((40, 50)) < 0.5,
    "jpegs": [rng.bytes(LONG + number) for number in range(-1, 5)],
    "objects": np.array([rng.bytes(LONG), b"short", SHARED, SHARED], object),
    "text": "ä\ud800" * LONG,
    "bytes": bytearray(SHARED),
    "fixed": np.array([SHARED]),
    "x" * 2 * LONG: {"y" * 2 * LONG},
}


def check_equal(read: Any, expected: Any) -> None:
    assert type(read) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (read.dtype, read.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(read, expected)
    elif isinstance(expected, dict):
        assert list(read) == list(expected)
        for name, value in expected.items():
            check_equal(read[name], value)
    elif isinstance(expected, list | tuple):
        assert len(read) == len(expected)
        for one, other in zip(read, expected, strict=True):
            check_equal(one, other)
    else:
        assert read == expected


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("kind", [dict, list, tuple])
def test_items_equal_what_pickle_reads(tmp_path: Path, protocol: int, kind: type) -> None:
    content = {"a": LARGE, 3: {"same": SHARED}} if kind is dict else kind([LARGE, {"same": SHARED}])
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    expected = pickle.loads(path.read_bytes())
    check_equal(load_pickle(path), expected)
    with open_pickle(path) as items:
        assert type(items) is kind
        read = {name: item.read() for name, item in items.items()} if kind is dict else kind(item.read() for item in items)
    check_equal(read, expected)


def test_frames_and_a_memo_of_the_c_pickler_are_read(tmp_path: Path) -> None:
    content = {
        f"{number:03d}": {"video": rng.integers(0, 255, 70_000, np.uint8), "occluded": [SHARED]} for number in range(300)
    }
    data = pickle.dumps(content, 4)
    assert data.count(b"\x95") > 2, "the pickler makes no frames any more"
    check_equal(loads(data), content)
    with open_pickle(_written(tmp_path, pickle.dumps(np.arange(3)))) as item:
        assert isinstance(item, Item)


MEASURE = """
import pickle, resource, sys
from tapetum.tracks.tapvid import read_entries
import numpy as np, PIL.JpegImagePlugin
scale = 1 if sys.platform == "darwin" else 1024
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sums = []
for entry in read_entries(sys.argv[1]):
    sums.append(sum(int(frame[0].sum()) if isinstance(frame, np.ndarray) else len(frame) for frame in entry.video))
    del entry
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * scale, *sums)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "jpegs"), [(3, True), (5, False)])
def test_a_file_of_videos_is_read_in_the_memory_of_one(tmp_path: Path, protocol: int, jpegs: bool) -> None:
    path = tmp_path / "robotap_split0.pkl"
    videos = {}
    for number in range(30):
        video = np.frombuffer(rng.bytes(2_112_000), np.uint8).reshape(20, 200, 176, 3)
        frames = [rng.bytes(50_000) for _ in range(40)] if jpegs else video
        videos[f"video_{number}"] = {
            "video": frames,
            "points": rng.random((5, len(frames), 2)),
            "occluded": np.zeros((5, len(frames))),
        }
    path.write_bytes(pickle.dumps(videos, protocol))
    size = path.stat().st_size
    assert size > 59e6
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    peak, *sums = (int(number) for number in done.stdout.split())
    assert peak < size / 6, f"{peak:,} bytes were needed for a file of {size:,}"
    assert sums == [sum(len(f) if jpegs else int(f[0].sum()) for f in video["video"]) for video in videos.values()]


@pytest.mark.parametrize("protocol", range(2, 6))
def test_what_is_cut_off_is_refused(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps({"a": {"video": LARGE["frames"]}}, protocol)
    for end in range(1, len(data), 97):
        with (
            pytest.raises(BadInput, match=r"a\.pkl: not a whole pickle") as caught,
            open_pickle(_written(tmp_path, data[:end])),
        ):
            pass
        assert "\n" not in str(caught.value)


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
BYTES = b"B\x00\x08\x00\x00" + bytes(2048)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (BYTES + b"N}X\x05\x00\x00\x00_readNs\x86b", "own building blocks"),
        (
            ARRAY + b"(K\x01J\xff\xff\xff\x7f\x85cnumpy\ndtype\nX\x02\x00\x00\x00f8\x89\x88\x87R\x89" + BYTES + b"tb",
            "needs 17179869176",
        ),
        (b"J\x00\x00\x00\x00Q", "opcode b'Q' is unknown"),
        (b"Pname\n", "opcode b'P' is unknown"),
        (b"cposix\nsystem\nX\x06\x00\x00\x00exit 1\x85R", "names posix.system"),
        (b"\x8e" + (2**62).to_bytes(8, "little") + b"short", "ends within a string"),
        (b"T\xff\xff\xff\xff", "a string of -1 bytes"),
    ],
)
def test_hostile_items_are_refused(tmp_path: Path, part: bytes, message: str) -> None:
    path = _written(tmp_path, b"\x80\x04}X\x01\x00\x00\x00a" + part + b"s.")
    with pytest.raises(BadInput, match=message) as caught, open_pickle(path) as items:
        items["a"].read()
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def _written(folder: Path, data: bytes) -> Path:
    path = folder / "a.pkl"
    path.write_bytes(data)
    return path
