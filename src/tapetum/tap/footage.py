"""Any folder of videos made into clips to learn from: cut at shot changes, sorted, resized, kept in shards.

    FOLDER/**/*.mp4 ...                OUT/videos/<key>.json     what became of a video: its clips, what was left out, why
                       -- prepare -->  OUT/shards/<key>-000.npz  its clips, uint8 (t, size, size, 3)
                                       OUT/footage.json          the settings that all were made with

Each video is prepared on its own and its json is written last and whole, so preparation may be killed at any moment, goes on
where it was, and may be shared out (`tapetum.tap.many`). Frames are squashed to squares, as TAPIR sees all its videos.

A clip is a stretch of one shot. Left out, and counted, are shots too short for a clip, clips in which nothing moves, and dark
or blank ones. What decides is measured on small copies of the frames, of 64x36 pixels, in levels of 0 to 255.

Source: BootsTAP (arXiv 2402.00847) wants 24 frames of one shot in which something moves; its authors tell no thresholds, so all
of these are ours.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from tapetum.errors import BadInput
from tapetum.files import whole_file
from tapetum.video import open_video

ENDINGS = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp"),
    *(".ogv", ".gif", ".mxf", ".mjpeg", ".mjpg", ".y4m", ".dv", ".asf"),
}
"""Endings of files that are taken to be videos."""
SMALL = (64, 36)
"""Width and height of the copies on which shots and clips are judged."""


@dataclass(frozen=True, kw_only=True)
class FootageConfig:
    """How videos become clips."""

    size: int = 256
    """Height and width of the clips in pixels."""
    shortest: int = 24
    """Frames; what is left of a shot below that is no clip."""
    longest: int = 48
    """Frames; longer shots become several clips."""
    fastest: float = 30.0
    """Frames a second; of quicker videos only every second, third, ... frame is taken."""
    cut_least: float = 12.0
    """Mean change from one frame to the next that a cut has at least."""
    cut_ratio: float = 3.0
    """... and by how much it is above the mean change in the two frames before and after it."""
    still: float = 1.5
    """A clip in which no frame differs more from its first one, in the mean, is one in which nothing moves."""
    dark: float = 12.0
    """A clip whose mean brightness is below is black."""
    blank: float = 4.0
    """A clip whose frames deviate less from their mean brightness is blank."""
    shard: int = 8
    """Clips in a file."""

    def __post_init__(self) -> None:
        if not 2 <= self.shortest <= self.longest:
            raise BadInput(f"clips of {self.shortest} to {self.longest} frames: give 2 or more, and the shortest first")
        if self.size < 16 or self.size % 8 or self.shard < 1 or not self.fastest > 0:
            raise BadInput("size must be a multiple of 8 from 16 on, shard 1 or more, fastest above 0")


@dataclass(frozen=True)
class ClipOf:
    """Where a clip is kept and where it is from."""

    shard: str
    number: int
    """Of the clip in its shard."""
    video: str
    begin: int
    """Number of its first frame in the video."""
    step: int
    """Frames of the video from one frame of the clip to the next."""
    frames: int


def find_videos(source: Path) -> list[Path]:
    """All files below the folder `source` that have the ending of a video, sorted; or `source` itself, a file.

    Raises BadInput if there are none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise BadInput(f"there is no folder {source}; give one with videos in it")
    found = sorted(p for p in source.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file() and not p.name.startswith("."))
    if not found:
        others = sum(p.is_file() for p in source.rglob("*"))
        raise BadInput(
            f"{source} has no video in it ({others} other files); give a folder with mp4, mov, mkv, webm or avi files"
        )
    return found


def claim(out: Path, config: FootageConfig) -> None:
    """Makes `out` a place for clips of this config. Raises BadInput if it holds clips of another one."""
    file, label = out / "footage.json", asdict(config)
    if file.exists():
        found = json.loads(file.read_text())
        if found != label:
            changed = ", ".join(f"{k} {found.get(k)!r} (now {v!r})" for k, v in label.items() if found.get(k) != v)
            raise BadInput(f"{out} keeps clips made with {changed}; choose another folder, or delete that one")
        return
    for folder in (out / "videos", out / "shards"):
        folder.mkdir(parents=True, exist_ok=True)
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps(label, indent=1))


def prepare(video: Path, name: str, out: Path, config: FootageConfig) -> dict[str, Any]:
    """Clips of one video, if they are not there yet; what became of it, as its json says.

    `name` stands for the video in the report. A video that cannot be read is no error: its record says why. Raises BadInput if
    the clips cannot be written; the video's record is not written then, so that it is taken up again.
    """
    stat = video.stat()
    key = hashlib.sha256(f"{name}\n{stat.st_size}\n{stat.st_mtime_ns}".encode()).hexdigest()[:16]
    file = out / "videos" / f"{key}.json"
    if file.exists():
        return json.loads(file.read_text())
    record: dict[str, Any] = {"video": name, "frames": 0, "shots": 0, "clips": [], "left_out": {}, "trouble": None}
    left_out: Counter[str] = Counter()
    shard: list[tuple[UInt8[np.ndarray, "t s s 3"], int]] = []
    step = 1

    def flush() -> None:
        if shard:
            path = out / "shards" / f"{key}-{len(record['clips']) // config.shard:03d}.npz"
            with whole_file(path) as temporary:
                np.savez(temporary, **{f"clip_{n}": frames for n, (frames, _) in enumerate(shard)})  # pyright: ignore[reportArgumentType]
            for number, (frames, begin) in enumerate(shard):
                clip = ClipOf(path.name, number, name, begin, step, len(frames))
                record["clips"].append(asdict(clip))
            shard.clear()

    try:
        with open_video(str(video)) as reader:
            step = max(1, round(reader.rate / config.fastest))
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
    except BadInput as error:
        record["trouble"] = str(error)
    flush()
    record["left_out"] = dict(left_out)
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps(record, indent=1))
    return record


def _thinned(reader: Any, step: int, record: dict[str, Any]) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Every `step`-th frame; all are counted. Where reading fails the frames end, and the record says why."""
    try:
        for number, frame in enumerate(reader):
            record["frames"] += 1
            if number % step == 0:
                yield frame
    except BadInput as error:
        record["trouble"] = str(error)


@dataclass
class Shot:
    """A run of frames with no cut, or the first of a long one."""

    begin: int
    whole: bool
    """It goes to a cut or to the end: not so for the first frames of a long run."""
    frames: list[UInt8[np.ndarray, "s s 3"]]
    small: list[Float[np.ndarray, "36 64 3"]]


def shots(frames: Iterator[UInt8[np.ndarray, "h w 3"]], config: FootageConfig) -> Iterator[Shot]:
    """Frames, resized, in shots. From a long one `config.longest` frames are taken off while there is enough left for a clip.

    So memory has a bound. A cut is where the change from a frame to the next is both large and far above that of its neighbours
    (two on each side), so two frames are looked ahead.
    """
    held: list[tuple[np.ndarray, np.ndarray]] = []
    changes: list[float] = []  # changes[i]: from frame i - 1 to frame i of `held`
    begin = 0
    for frame in frames:
        picture = Image.fromarray(frame)
        square = np.asarray(picture.resize((config.size, config.size), Image.Resampling.BILINEAR))
        small = np.asarray(picture.resize(SMALL, Image.Resampling.BOX), dtype=np.float32)
        changes.append(float(np.abs(small - held[-1][1]).mean()) if held else 0.0)
        held.append((square, small))
        at = len(held) - 3
        if at > 0 and _is_cut(changes, at, config):
            yield _shot(begin, True, held[:at])
            begin, held, changes = begin + at, held[at:], [0.0, *changes[at + 1 :]]
        elif len(held) == config.longest + config.shortest + 2:
            yield _shot(begin, False, held[: config.longest])
            begin, held, changes = begin + config.longest, held[config.longest :], changes[config.longest :]
    for at in (len(held) - 2, len(held) - 1):
        if at > 0 and _is_cut(changes, at, config):
            yield _shot(begin, True, held[:at])
            begin, held = begin + at, held[at:]
            break
    if held:
        yield _shot(begin, True, held)


def _is_cut(changes: Sequence[float], at: int, config: FootageConfig) -> bool:
    around = [changes[i] for i in (at - 2, at - 1, at + 1, at + 2) if 0 < i < len(changes)]
    usual = float(np.mean(around)) if around else 0.0
    return changes[at] >= config.cut_least and changes[at] >= config.cut_ratio * usual


def _shot(begin: int, whole: bool, held: list[tuple[np.ndarray, np.ndarray]]) -> Shot:
    return Shot(begin, whole, [square for square, _ in held], [small for _, small in held])


def cut(
    shot: Shot, config: FootageConfig
) -> Iterator[tuple[int, UInt8[np.ndarray, "t s s 3"], Float[np.ndarray, "t 36 64 3"]]]:
    """Clips of a shot: its frames in even pieces, or in fewer where those would be too short; (begin, frames, small copies)."""
    count = len(shot.frames)
    pieces = -(-count // config.longest)
    if count / pieces < config.shortest:
        pieces = max(1, count // config.shortest)
    for number in range(pieces):
        begin, end = count * number // pieces, count * (number + 1) // pieces
        end = min(end, begin + config.longest)
        yield begin, np.stack(shot.frames[begin:end]), np.stack(shot.small[begin:end])


def unfit(small: Float[np.ndarray, "t 36 64 3"], config: FootageConfig, frames: int) -> str | None:
    """Why a clip is not worth learning from: short, dark, blank or still; None if it is.

    >>> unfit(np.zeros((24, 36, 64, 3)), FootageConfig(), 24)
    'dark'
    """
    if frames < config.shortest:
        return "short"
    if small.mean() < config.dark:
        return "dark"
    if small.std(axis=(1, 2)).mean() < config.blank:
        return "blank"
    if np.abs(small - small[0]).mean(axis=(1, 2, 3)).max() < config.still:
        return "still"
    return None


class Footage:
    """The clips of a prepared folder, by number, in the order of their videos' names."""

    def __init__(self, out: Path):
        self.out = out
        self.records = sorted(
            (json.loads(file.read_text()) for file in (out / "videos").glob("*.json")), key=lambda record: record["video"]
        )
        self.clips = [ClipOf(**clip) for record in self.records for clip in record["clips"]]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, k: int) -> UInt8[np.ndarray, "t s s 3"]:
        """Frames of a clip. Raises BadInput where its file is missing or damaged."""
        clip = self.clips[k]
        path = self.out / "shards" / clip.shard
        try:
            with np.load(path, allow_pickle=False) as file:
                return file[f"clip_{clip.number}"]
        except Exception as error:  # zipfile, numpy and the system each have their own
            raise BadInput(f"cannot read clips from {path} ({error}); delete {self.out} and run again") from error


def prepare_all(
    source: Path, out: Path, config: FootageConfig, progress: Callable[[int, int, str], None] | None = None
) -> Footage:
    """Clips of all videos of a folder, in this process. Raises BadInput if there is not a single clip."""
    claim(out, config)
    videos = find_videos(source)
    for number, video in enumerate(videos):
        name = name_of(video, source)
        if progress:
            progress(number, len(videos), name)
        prepare(video, name, out, config)
    return checked(Footage(out), source, config)


def name_of(video: Path, source: Path) -> str:
    """How a video is called in reports: its path below the folder."""
    return video.name if video == source else video.relative_to(source).as_posix()


def checked(footage: Footage, source: Path, config: FootageConfig) -> Footage:
    """The footage, if it has any clip. Raises BadInput, with what was wrong, if not."""
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


def write_report(footage: Footage, file: Path) -> list[str]:
    """What became of each video, a line for each and one for all, as a text file; what needs to be said of it.

    That is a line for each video that could not be read to its end, and the last line of the file.
    """
    lines = report(footage)
    with whole_file(file) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    trouble = [f"{record['video']}: {record['trouble']}" for record in footage.records if record["trouble"]]
    return [*trouble, f"{lines[-1]} ({file})"]


def report(footage: Footage) -> list[str]:
    """What became of each video, for people: a line for each, and one for all."""
    lines = []
    for record in footage.records:
        left = ", ".join(f"{count} {reason}" for reason, count in record["left_out"].items())
        told = [f"{len(record['clips'])} clips of {record['shots']} shots, {record['frames']} frames"]
        told += [f"left out: {left}"] if left else []
        told += [record["trouble"]] if record["trouble"] else []
        lines.append(f"{record['video']}: {'; '.join(told)}")
    frames = sum(clip.frames for clip in footage.clips)
    return [*lines, f"{len(footage)} clips of {frames} frames from {len(footage.records)} videos"]
