"""Read 500 damaged videos and print what became of them: no crash, no hang, no error that is not one clear line.

    python evidence/hostile-videos/videos.py [--count 500] [--seed 0] [--only NUMBER] [--keep DIR]

Small clean clips, one for each of four codecs, are damaged in eight ways. The bytes of file NUMBER depend on --seed and NUMBER
alone, so that one file can be made again with --only and kept with --keep. A child process opens every file, reads from its
middle, checks it, and reads it from beginning to end; a child that dies or is silent for ten seconds is replaced, and the file
named.
"""

import argparse
import hashlib
import json
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.video import open_video

FRAMES, WIDTH, HEIGHT = 20, 64, 48
PATIENCE = 10
"""Seconds after which a file counts as hanging."""

SOURCES: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    "h264.mp4": ("libx264", {"g": "8", "bf": "2", "threads": "1"}, {"movflags": "faststart"}),
    "hevc.mkv": ("libx265", {"x265-params": "keyint=8:log-level=none:pools=1:frame-threads=1"}, {}),
    "vp9.webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "g": "8", "threads": "1"}, {}),
    "mjpeg.avi": ("mjpeg", {"threads": "1"}, {}),
}
"""Codec, its options and the container's, by the name of the clean file."""
SAME = {"fflags": "bitexact"}
"""Keeps names made by chance, and the date, out of a container."""


def images() -> Iterator[np.ndarray]:
    """A smooth texture that drifts, no two frames alike."""
    coarse = np.random.default_rng(7).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(coarse).resize((WIDTH + 2 * FRAMES, HEIGHT + FRAMES), Image.Resampling.BICUBIC))
    for n in range(FRAMES):
        yield np.ascontiguousarray(texture[n : n + HEIGHT, 2 * n : 2 * n + WIDTH])


def encode(path: Path) -> Path:
    """Write the clean clip that the name of `path` stands for."""
    codec, options, muxer = SOURCES[path.name]
    with av.open(str(path), "w", options=muxer | SAME) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for image in images():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=stream.pix_fmt)))
        container.mux(stream.encode(None))
    return path


# The damages. Each takes the clean files, the one that is to be damaged and a source of chance, and gives bytes.
# The first five do not know what they hit; the others take the file apart into packets and put it together anew.

Clean = dict[str, bytes]
Damage = Callable[[Clean, str, np.random.Generator], bytes]


def truncated(clean: Clean, name: str, chance: np.random.Generator) -> bytes:
    data = clean[name]
    return data[: int(chance.integers(1, len(data)))]


def flipped(clean: Clean, name: str, chance: np.random.Generator) -> bytes:
    """1 to 64 bits turned over, anywhere."""
    data = np.frombuffer(clean[name], np.uint8).copy()
    places = chance.integers(0, len(data), 2 ** chance.integers(0, 7))
    np.bitwise_xor.at(data, places, (1 << chance.integers(0, 8, len(places))).astype(np.uint8))
    return data.tobytes()


def zeroed(clean: Clean, name: str, chance: np.random.Generator) -> bytes:
    data = bytearray(clean[name])
    start, length = int(chance.integers(0, len(data))), int(chance.integers(1, len(data) // 3))
    data[start : start + length] = bytes(len(data[start : start + length]))
    return bytes(data)


def header(clean: Clean, name: str, chance: np.random.Generator) -> bytes:
    """1 to 8 bytes of the first 700 replaced: sizes, counts, rates and tables are there."""
    data = bytearray(clean[name])
    for place in chance.integers(0, min(700, len(data)), int(chance.integers(1, 9))):
        data[place] = int(chance.choice([0, 1, 127, 128, 255, chance.integers(0, 256)]))
    return bytes(data)


def cut_out(clean: Clean, name: str, chance: np.random.Generator) -> bytes:
    """A piece taken out, so that all behind it is in another place than the tables say."""
    data = clean[name]
    start, length = int(chance.integers(0, len(data))), int(chance.integers(1, len(data) // 4))
    return data[:start] + data[start + length :]


def deleted(clean: Clean, name: str, chance: np.random.Generator) -> bytes:
    """Packets left out, in half of the files without a gap in time."""
    packets = _packets(clean[name])
    kept = np.sort(chance.choice(FRAMES, int(chance.integers(1, FRAMES)), replace=False)).tolist()
    times = kept if chance.integers(2) else range(len(kept))
    return _remuxed(clean, name, [(packets[k].data, packets[t]) for k, t in zip(kept, times, strict=True)])


def shuffled(clean: Clean, name: str, chance: np.random.Generator) -> bytes:
    """Contents of packets exchanged and doubled; times stay as they were."""
    packets = _packets(clean[name])
    order = np.arange(FRAMES)
    for _ in range(int(chance.integers(1, 6))):
        a, b = chance.integers(0, FRAMES, 2)
        order[a] = order[b]
        if chance.integers(2):
            order[b] = a
    return _remuxed(clean, name, [(packets[k].data, packets[t]) for t, k in enumerate(order)])


def spliced(clean: Clean, name: str, chance: np.random.Generator) -> bytes:
    """Packets of another codec in place of some, or the end of another file put on."""
    other = str(chance.choice([key for key in clean if key != name]))
    if chance.integers(3) == 0:
        here, there = (int(chance.integers(1, len(clean[key]))) for key in (name, other))
        return clean[name][:here] + clean[other][there:]
    packets, strangers = _packets(clean[name]), _packets(clean[other])
    places = set(chance.integers(0, FRAMES, int(chance.integers(1, 10))).tolist())
    mixed = [((strangers if t in places else packets)[t].data, packets[t]) for t in range(FRAMES)]
    return _remuxed(clean, name, mixed)


DAMAGES: tuple[Damage, ...] = (truncated, flipped, zeroed, header, cut_out, deleted, shuffled, spliced)


@dataclass(frozen=True)
class _Packet:
    data: bytes
    pts: int
    dts: int
    time_base: Fraction
    key: bool


def _packets(data: bytes) -> list[_Packet]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with av.open(file.name) as container:
            packets = [p for p in container.demux(video=0) if p.size]
            # Matroska states no decoding times: they are the times of showing in order, early enough for every packet
            shown = sorted(p.pts for p in packets)
            early = max(time - p.pts for time, p in zip(shown, packets, strict=True))
            return [
                _Packet(bytes(p), p.pts, time - early, p.time_base, p.is_keyframe)
                for time, p in zip(shown, packets, strict=True)
            ]


def _remuxed(clean: Clean, name: str, content: list[tuple[bytes, _Packet]]) -> bytes:
    """The file `name` with other packets: of each, what it holds and the packet whose times it gets."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, name), Path(folder, f"new-{name}")
        source.write_bytes(clean[name])
        with av.open(str(source)) as old, av.open(str(target), "w", options=SAME) as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            for data, like in content:
                packet = av.Packet(data)
                packet.pts, packet.dts, packet.time_base = like.pts, like.dts, like.time_base
                packet.is_keyframe, packet.stream = like.key, stream
                new.mux(packet)
        return target.read_bytes()


@dataclass(frozen=True)
class Corpus:
    """The clean files and the damaged ones that follow from a seed."""

    clean: Clean
    seed: int = 0

    @staticmethod
    def make(folder: Path, seed: int = 0) -> "Corpus":
        return Corpus({name: encode(folder / name).read_bytes() for name in SOURCES}, seed)

    def write(self, number: int, folder: Path) -> Path:
        """Write damaged file `number`; every 32 that follow each other hold each damage of each codec once."""
        name = list(SOURCES)[number % len(SOURCES)]
        damage = DAMAGES[number // len(SOURCES) % len(DAMAGES)]
        path = folder / f"{number:03d}-{damage.__name__}-{name}"
        path.write_bytes(damage(self.clean, name, np.random.default_rng([self.seed, number])))
        return path


# Reading, in a child process.


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    kind: str
    """whole: all 20 frames as they were; told: damage was reported; untold: frames are missing or different and the report
    does not say so; refused: `BadInput`; or one of `BUGS`."""
    text: str = ""
    seconds: float = 0.0
    megabytes: int = 0
    """Most memory that the process has held so far."""


BUGS = ("error", "dishonest", "crash", "hang")


def read(path: Path, truth: frozenset[str] = frozenset()) -> Outcome:
    """Open, read from the middle, check, and read all; `truth` is the digests of frames that are right."""
    try:
        with open_video(path) as video:
            try:
                middle = len(video) // 2
                _ = video[middle], video[middle // 2 : middle]
            except IndexError:
                assert middle >= len(video), "IndexError for a frame that is there"  # the read found the video shorter
            report = video.check()
            digests = [_digest(frame) for frame in video]
            times, frame_rate, last = video.timestamps, video.frame_rate, video[-1]
            counts = (len(video), len(digests), len(times), report.decoded)
            honest = {
                "one length everywhere": len(set(counts)) == 1 and report.complete,
                "what is missing is damaged": 0 <= report.promised - report.decoded <= report.damaged <= report.promised,
                "times are finite": bool(np.isfinite(times).all()),
                "a rate that can be used": np.isfinite(frame_rate) and 0 < frame_rate < 1e6,
                "frames have one size": last.shape == (video.height, video.width, 3),
            }
    except BadInput as error:
        return Outcome("refused" if "\n" not in str(error) else "dishonest", str(error))
    except Exception as error:
        return Outcome("error", f"{type(error).__name__}: {error}")
    wrong = [claim for claim, true in honest.items() if not true]
    if wrong:
        return Outcome("dishonest", f"not so: {', '.join(wrong)} (lengths {counts}, rate {frame_rate}, {report})")
    if report.damaged:
        return Outcome("told", f"{report.damaged} of {report.promised} damaged or missing")
    strange = sum(digest not in truth for digest in digests)
    if strange or len(digests) != FRAMES:
        return Outcome("untold", f"{len(digests)} frames, {strange} of them changed")
    return Outcome("whole")


def _digest(frame: np.ndarray) -> str:
    return hashlib.blake2b(frame.tobytes(), digest_size=8).hexdigest()


def digests(path: Path) -> frozenset[str]:
    """Digests of all frames of a clean file."""
    return frozenset(_digest(frame) for frame in open_video(path))


def _child() -> None:
    """Answer each line of stdin, a path and the digests of right frames, with a line of JSON."""
    warnings.simplefilter("error")
    for line in sys.stdin:
        path, truth = json.loads(line)
        start = time.perf_counter()
        found = read(Path(path), frozenset(truth))
        print(json.dumps([found.kind, found.text, time.perf_counter() - start, peak_megabytes()]), flush=True)


def peak_megabytes() -> int:
    """Most memory that this program has held; `getrusage` of Linux also counts what the process held before it began it."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1 << 20 if sys.platform == "darwin" else 1 << 10)


class Reader:
    """A child process that reads one file after the other, and is replaced where it dies or hangs."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, __file__, "--child"), patience: float = PATIENCE) -> None:
        self._command, self._patience = command, patience
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path, truth: frozenset[str] = frozenset()) -> Outcome:
        """The outcome of `read` in the child, or that it crashed or hung."""
        if self._process is None:
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process = self._process
        assert process.stdin
        assert process.stdout
        process.stdin.write(json.dumps([str(path), sorted(truth)]) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(self._patience):
                self._end()
                return Outcome("hang", f"no answer in {self._patience} s", self._patience)
        answer = process.stdout.readline()
        if answer:
            return Outcome(*json.loads(answer))
        code = process.wait()
        self._end()
        return Outcome("crash", f"the process ended with code {code}")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def table(found: dict[str, list[Outcome]]) -> str:
    """Counts of outcomes by damage."""
    kinds = ("whole", "told", "untold", "refused", *BUGS)
    lines = [f"{'':12}{'files':>8}" + "".join(f"{kind:>10}" for kind in kinds)]
    for name, outcomes in [*found.items(), ("all", [o for group in found.values() for o in group])]:
        counts = Counter(outcome.kind for outcome in outcomes)
        lines.append(f"{name:12}{len(outcomes):>8}" + "".join(f"{counts[kind]:>10}" for kind in kinds))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500, help="files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="number of the one file that is made and read")
    parser.add_argument("--keep", type=Path, help="folder in which the damaged files stay")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        _child()
        return 0
    found: dict[str, list[Outcome]] = {}
    with tempfile.TemporaryDirectory() as folder, Reader() as reader:
        keep = args.keep or Path(folder, "damaged")
        keep.mkdir(parents=True, exist_ok=True)
        corpus = Corpus.make(Path(folder), args.seed)
        truth = {name: digests(Path(folder, name)) for name in SOURCES}
        for number in range(args.count) if args.only is None else [args.only]:
            path = corpus.write(number, keep)
            _, damage, name = path.name.split("-")
            outcome = reader.read(path, truth[name])
            for key in (damage, name):
                found.setdefault(key, []).append(outcome)
            if outcome.kind in BUGS or args.only is not None:
                print(f"{path.name}: {outcome.kind}: {outcome.text}")
            if not args.keep:
                path.unlink()
    by_damage = {key: found[key] for key in found if key not in SOURCES}
    print(table(by_damage), table({key: found[key] for key in SOURCES if key in found}), sep="\n\n")
    outcomes = [outcome for group in by_damage.values() for outcome in group]
    print(f"\nlongest {max(o.seconds for o in outcomes):.2f} s, most memory {max(o.megabytes for o in outcomes)} MB")
    return int(any(outcome.kind in BUGS for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
