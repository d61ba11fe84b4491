"""Tracking in several videos, one after the other or shared out with Ray: each is in the output once, whatever is killed.

A video's folder appears whole, with summary.json in it; a video that has one made with the same options is done. Videos that
cannot be tracked are named, and stop no other.
"""

import glob
import json
import os
import shutil
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.cli.output import note, print_json, progress
from tapetum.errors import BadInput, TapetumError
from tapetum.files import whole_file

if TYPE_CHECKING:
    from tapetum.cli.track import Track

SUMMARY = "summary.json"
HARMLESS = {"videos", "out", "engine", "json", "device", "preview", "online"}
"""Options that leave the tracks of a video as they are."""


def sources(given: Sequence[str]) -> list[tuple[str, str]]:
    """Name of the results and source of each video: what was given, with folders of videos replaced by what is in them.

    Raises BadInput if nothing was given, or two would have the same name.
    """
    from tapetum.tap.bootstrap.footage import name_of, videos_below
    from tapetum.video.pictures import PICTURES

    if not given:
        raise BadInput("no video was given; give a video file, a folder of pictures or of videos, or an array")
    named = []
    for source in given:
        path = Path(source)
        videos = videos_below(path) if path.is_dir() else []
        pictures = sum(p.suffix.lower() in PICTURES for p in path.iterdir()) if videos else 0
        if pictures:
            raise BadInput(
                f"{source} has {pictures} pictures and {len(videos)} videos in it ({videos[0].name}); give the files of the "
                "videos, or move these out of the folder of pictures"
            )
        named += [(name_of(video, path), str(video)) for video in videos] or [(Path(os.path.abspath(source)).name, source)]
    seen: dict[str, str] = {}
    for name, source in named:
        if name in seen:
            raise BadInput(f"{seen[name]} and {source} would both have their results in {name}; track them with two commands")
        seen[name] = source
    return named


def track_many(verb: "Track", named: list[tuple[str, str]], out: Path) -> None:
    """All of them, into folders in `out`, which gets videos.json with what there is to say of each.

    Raises BadInput at the end if there were videos that could not be tracked.
    """
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give --out a folder, or a name that is free")
    given = {k: v for k, v in asdict(verb).items() if k not in HARMLESS}
    files = {k: _stamp(Path(v)) for k, v in given.items() if isinstance(v, str | Path) and Path(v).exists()}
    settings = json.loads(json.dumps({**given, "files": files}, default=str))
    out = out.resolve() if verb.engine == "ray" else out
    jobs = [(name, str(Path(source).resolve()) if verb.engine == "ray" else source) for name, source in named]

    def work(job: tuple[str, str]) -> dict[str, Any]:
        return _one(verb, settings, *job, out)

    results: list[dict[str, Any] | None] = [None] * len(jobs)
    with progress() as bars:
        task = bars.add_task("videos", total=len(jobs))
        for number, summary in _in_order(verb, work, jobs):
            results[number] = summary
            bars.advance(task)
            if "trouble" in summary:
                note(f"{jobs[number][0]}: {summary['trouble']}")
    for name, _ in jobs:  # what workers left that were killed
        for left in (*(out / name).parent.glob(f".{glob.escape(Path(name).name)}.*.tmp"), *(out / name).glob(".*.tmp")):
            shutil.rmtree(left, ignore_errors=True)
    summaries = [summary for summary in results if summary is not None]
    with whole_file(out / "videos.json") as temporary:
        temporary.write_text(json.dumps(summaries, indent=1))
    done = [summary for summary in summaries if "trouble" not in summary]
    if verb.json:
        print_json({"videos": summaries})
    else:
        points = sum(summary["points"] * summary["frames"] for summary in done)
        print(
            f"tracked in {len(done)} of {len(summaries)} videos, {points} places\n"
            f"results  {out}\ntable    {out / 'videos.json'}"
        )
    if len(done) < len(summaries):
        failed = [summary["video"] for summary in summaries if "trouble" in summary]
        raise BadInput(f"{len(failed)} of {len(summaries)} videos could not be tracked ({', '.join(failed[:3])}); see above")


def _in_order(verb: "Track", work: Any, jobs: list[tuple[str, str]]) -> Iterator[tuple[int, dict[str, Any]]]:
    if verb.engine == "local":
        yield from enumerate(map(work, jobs))
        return
    from tapetum.tap.bootstrap.many import share_out

    yield from share_out(work, jobs, gpus=1 if (verb.device or "cpu").startswith("cuda") else 0)


def _one(verb: "Track", settings: dict[str, Any], name: str, source: str, out: Path) -> dict[str, Any]:
    """The summary of a video, tracked now or before; one with `trouble` if it cannot be."""
    from tapetum.tap.bootstrap.footage import TRACKS

    folder = out / name
    file = folder / SUMMARY
    stamp = _stamp(Path(source))
    if file.exists():
        before = json.loads(file.read_text())
        if before.get("settings") == settings and before.get("stamp") == stamp and (folder / TRACKS).exists():
            return {key: value for key, value in before.items() if key not in ("settings", "stamp")}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        summary = verb.track(source, folder)
    except TapetumError as error:
        return {"video": source, "trouble": str(error)}
    except Exception as error:  # such as no memory for this one
        return {"video": source, "trouble": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps({**summary, "settings": settings, "stamp": stamp}, indent=1))
    return summary


def _stamp(source: Path) -> list[list[Any]]:
    """Name, size and time of a file, or of those in a folder, by which it is known to be the same."""
    files = sorted(p for p in (source.iterdir() if source.is_dir() else [source]) if p.is_file())
    return [[file.name, (stat := file.stat()).st_size, stat.st_mtime_ns] for file in files]
