"""Turn any folder of videos into training clips: split at shot changes, filtered, resized and stored in shards.

    FOLDER/**/*.mp4 ...                OUT/videos/<key>.json     what became of a video: its clips, what was left out, why
                       -- prepare -->  OUT/shards/<key>-000.npz  its clips, uint8 (t, size, size, 3)
                                       OUT/list.json             which videos these are now
                                       OUT/footage.json          the settings that all were made with

A video's json is written last, so preparation can be killed, resumes where it stopped, and can run on many machines. Frames are
squashed to squares. A clip is part of one shot; short, static, dark and blank ones are left out and counted, judged on copies
of 64x36 pixels with values 0..255.

Source: BootsTAP (arXiv 2402.00847) requires 24 frames of one shot with motion; all thresholds are ours.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file, write_json, write_text
from tapetum.core.jobs import Engine, run_jobs
from tapetum.core.reading import no_pipe, read_json
from tapetum.systems.tap.bootstrap.config import FootageConfig
from tapetum.video import open_video
from tapetum.video.images import find_videos


@dataclass(frozen=True)
class ClipOf:
    """Address of a clip: its shard and number, and its frames in the video."""

    shard: str
    number: int
    """Number of the clip in its shard."""
    video: str
    begin: int
    """Number of its first frame in the video."""
    step: int
    """Frames of the video from one frame of the clip to the next."""
    frames: int


def claim(out: Path, config: FootageConfig) -> None:
    """Reserve `out` for clips of this config. Raises BadInput if it holds clips of a different config."""
    file, label = out / "footage.json", asdict(config)
    for left in (*out.glob("*/.*.tmp.json"), *out.glob("*/.*.tmp.npz")):  # by a process that was killed
        left.unlink(missing_ok=True)
    if file.exists():
        stored = _read(file)
        if stored != label:
            changed = ", ".join(f"{k} {stored.get(k)!r} (now {v!r})" for k, v in label.items() if stored.get(k) != v)
            raise BadInput(f"{out} keeps clips made with {changed}; choose another folder, or delete that one")
        return
    for folder in (out / "videos", out / "shards"):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(file, label, own=True)


def prepare(video: Path, name: str, out: Path, config: FootageConfig) -> dict[str, Any]:
    """Make clips of one video unless they exist already; returns the outcome recorded in its json, under its `name`.

    The record of an unreadable video says why. Raises BadInput if clips cannot be written; then the next run retries the video.
    """
    stat = video.stat()
    identity = f"{name}\n{stat.st_size}\n{stat.st_mtime_ns}".encode(errors="surrogateescape")  # names need not be UTF-8
    key = hashlib.sha256(identity).hexdigest()[:16]
    file = out / "videos" / f"{key}.json"
    if file.exists() and (known := _read(file))["frames"]:  # else it may be readable by now
        return known
    record: dict[str, Any] = {"key": key, "video": name, "frames": 0, "shots": 0, "clips": [], "left_out": {}, "trouble": None}
    left_out: Counter[str] = Counter()
    shard: list[tuple[UInt8[np.ndarray, "t s s 3"], int]] = []
    step = 1

    def flush() -> None:
        if shard:
            path = out / "shards" / f"{key}-{len(record['clips']) // config.shard:03d}.npz"
            with whole_file(path, own=True) as temporary:
                np.savez(temporary, **{f"clip_{n}": frames for n, (frames, _) in enumerate(shard)})  # pyright: ignore[reportArgumentType]
            for number, (frames, begin) in enumerate(shard):
                clip = ClipOf(path.name, number, name, begin, step, len(frames))
                record["clips"].append(asdict(clip))
            shard.clear()

    try:
        reader = open_video(str(video))
        step = max(1, round(reader.frame_rate / config.fastest))
    except BadInput as error:
        record["trouble"] = str(error)
    else:
        with reader:
            for shot in shots(_thinned(reader, step, record), config):
                record["shots"] += shot.whole
                for begin, frames, small in cut(shot, config):
                    if reason := unfit(small, config, len(frames)):
                        left_out[reason] += 1
                        continue
                    shard.append((frames, (shot.begin + begin) * step))
                    if len(shard) == config.shard:
                        flush()
            if reader.report.damaged and not record["trouble"]:
                record["trouble"] = f"{reader.report.damaged} of {reader.report.promised} frames are damaged or missing"
    flush()
    record["left_out"] = dict(left_out)
    write_json(file, record, own=True)
    return record


def _thinned(reader: Any, step: int, record: dict[str, Any]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Every `step`-th frame; all are counted. If reading fails, the frames end there and the record says why."""
    try:
        for number, frame in enumerate(reader):
            record["frames"] += 1
            if number % step == 0:
                yield frame
    except BadInput as error:
        record["trouble"] = str(error).removeprefix(f"{reader.name}: ")  # reports begin with the video's name


class FootageDataset:
    """The clips of a prepared folder, by number, in the order of their videos."""

    def __init__(self, out: Path):
        self.out = out
        self.records = [_read(out / "videos" / f"{key}.json") for key in _read(out / "list.json")]
        self.clips = [ClipOf(**clip) for record in self.records for clip in record["clips"]]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, k: int) -> UInt8[np.ndarray, "t s s 3"]:
        clip = self.clips[k]
        path = self.out / "shards" / clip.shard
        try:
            with np.load(no_pipe(path), allow_pickle=False) as file:
                return file[f"clip_{clip.number}"]
        except Exception as error:  # zipfile, numpy and the system each have their own
            raise BadInput(f"cannot read clips from {path} ({error}); delete {self.out} and run again") from error


def prepare_all(
    source: Path,
    out: Path,
    config: FootageConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
    engine: Engine = "local",
) -> FootageDataset:
    """Make clips of all videos in a folder, locally or on Ray, where all machines must see `source` and `out`. Raises BadInput
    if there is not a single clip."""
    if engine == "ray":
        source, out = Path(os.path.realpath(source)), Path(os.path.realpath(out))
    videos = find_videos(source)
    claim(out, config)

    def work(video: Path, _: None) -> str:
        name = video.name if video == source else video.relative_to(source).as_posix()
        return prepare(video, name, out, config)["key"]

    keys = dict(run_jobs(work, videos, engine=engine, progress=progress))
    write_json(out / "list.json", [keys[number] for number in range(len(videos))], own=True)
    footage = FootageDataset(out)
    if len(footage):
        return footage
    first = next((f"; {r['video']}: {r['trouble']}" for r in footage.records if r["trouble"]), "")
    left = Counter[str]()
    for record in footage.records:
        left.update(record["left_out"])
    counts = ", ".join(f"{count} too {reason}" for reason, count in left.items()) or "no frame could be read"
    raise BadInput(
        f"{source} has no clip to learn from ({counts}{first}); "
        f"give videos with shots of {config.shortest} or more frames in which something moves"
    )


def write_report(footage: FootageDataset, file: Path) -> list[str]:
    """Write the outcome of each video to a text file, a line each and a total; returns the lines of those not read to their
    end, and the total."""
    lines, trouble = [], []
    for record in footage.records:
        parts = [f"{len(record['clips'])} clips of {record['shots']} shots, {record['frames']} frames"]
        if left := ", ".join(f"{count} {reason}" for reason, count in record["left_out"].items()):
            parts.append(f"left out: {left}")
        if record["trouble"]:
            parts.append(record["trouble"])
            trouble.append(f"{record['video']}: {record['trouble']}")
        lines.append(f"{record['video']}: {'; '.join(parts)}")
    frames = sum(clip.frames for clip in footage.clips)
    lines.append(f"{len(footage)} clips of {frames} frames from {len(footage.records)} videos")
    write_text(file, "\n".join(lines) + "\n")
    return [*trouble, f"{lines[-1]} ({file})"]


def _read(file: Path) -> Any:
    try:
        return read_json(file)
    except (OSError, ValueError) as error:
        folder = file.parent.parent if file.parent.name == "videos" else file.parent
        raise BadInput(f"cannot read {file} ({error}); delete {folder} and run again") from error


SMALL = (64, 36)
"""Width and height of the small copies, on which shots and clips are judged."""


@dataclass
class FootageShot:
    """A run of frames with no cut, or the first of a long one."""

    begin: int
    whole: bool
    """It goes to a cut or to the end: not so for the first frames of a long run."""
    frames: list[tuple[UInt8[np.ndarray, "s s 3"], Float[np.ndarray, "36 64 3"]]]
    """Each frame resized, and its small copy."""


def shots(frames: Iterator[UInt8[np.ndarray, "h w 3"]], config: FootageConfig) -> Iterator[FootageShot]:
    """Resize frames and split them into shots; of a long shot, `config.longest` frames are split off while enough remain.

    A cut is where the change from one frame to the next is large and far above that of its neighbours (two on each side), which
    takes a look-ahead of two frames.
    """
    buffer: list[tuple[np.ndarray, np.ndarray]] = []
    changes: list[float] = []  # changes[i]: from frame i - 1 to frame i of `buffer`
    begin = 0
    for frame in frames:
        image = Image.fromarray(frame)
        square = np.asarray(image.resize((config.size, config.size), Image.Resampling.BILINEAR))
        small = np.asarray(image.resize(SMALL, Image.Resampling.BOX), dtype=np.float32)
        changes.append(float(np.abs(small - buffer[-1][1]).mean()) if buffer else 0.0)
        buffer.append((square, small))
        at = len(buffer) - 3
        if at > 0 and _is_cut(changes, at, config):
            yield FootageShot(begin, True, buffer[:at])
            begin, buffer, changes = begin + at, buffer[at:], [0.0, *changes[at + 1 :]]
        elif len(buffer) == config.longest + config.shortest + 2:
            yield FootageShot(begin, False, buffer[: config.longest])
            begin, buffer, changes = begin + config.longest, buffer[config.longest :], changes[config.longest :]
    for at in (len(buffer) - 2, len(buffer) - 1):
        if at > 0 and _is_cut(changes, at, config):
            yield FootageShot(begin, True, buffer[:at])
            begin, buffer = begin + at, buffer[at:]
            break
    if buffer:
        yield FootageShot(begin, True, buffer)


def _is_cut(changes: Sequence[float], at: int, config: FootageConfig) -> bool:
    around = [changes[i] for i in (at - 2, at - 1, at + 1, at + 2) if 0 < i < len(changes)]
    usual = float(np.mean(around)) if around else 0.0
    return changes[at] >= config.cut_least and changes[at] >= config.cut_ratio * usual


def cut(
    shot: FootageShot, config: FootageConfig
) -> Iterator[tuple[int, UInt8[np.ndarray, "t s s 3"], Float[np.ndarray, "t 36 64 3"]]]:
    """Cut a shot into clips of equal length, fewer if they would be too short; gives (begin, frames, small copies)."""
    count = len(shot.frames)
    pieces = -(-count // config.longest)
    if count / pieces < config.shortest:
        pieces = max(1, count // config.shortest)
    for number in range(pieces):
        begin, end = count * number // pieces, count * (number + 1) // pieces
        end = min(end, begin + config.longest)
        squares, small = zip(*shot.frames[begin:end], strict=True)
        yield begin, np.stack(squares), np.stack(small)


def unfit(small: Float[np.ndarray, "t 36 64 3"], config: FootageConfig, frames: int) -> str | None:
    """Say why a clip is unfit for training: short, dark, blank or still; None if it is fit."""
    if frames < config.shortest:
        return "short"
    if small.mean() < config.dark:
        return "dark"
    if small.std(axis=(1, 2)).mean() < config.blank:
        return "blank"
    if np.abs(small - small[0]).mean(axis=(1, 2, 3)).max() < config.still:
        return "still"
    return None
