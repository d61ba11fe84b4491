"""`tapetum track`: one video, a live source, or several videos (`tapetum.track_many`), sequentially or with Ray.

Of several videos, each appears in the output once, even after a crash: its folder appears complete, including summary.json, and
a video whose folder was made with the same options is skipped. Videos that cannot be tracked are named and do not stop the
others.
"""

import json
import os
import re
import traceback
from array import array
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.commands import JSON
from tapetum.app.track.track import MODEL, SHOWN_BY, Tracked, TrackOptions, TrackSettings, make_tracker, track, track_into
from tapetum.app.track.track_files import TRACKS, one_file
from tapetum.app.verb import File, Listener, Result, narrowed, verb
from tapetum.core.devices import choose_dtype
from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.fields import check_options
from tapetum.core.files import plain_name, write_json
from tapetum.core.provenance import check

if TYPE_CHECKING:
    from tapetum.app.track.live import TrackedLive

SUMMARY, TABLE = "summary.json", "videos.json"
"""Summary of a video, in its folder, and of all videos."""
_POINT = re.compile(r"[^/,]{1,40}(,[-+.\de]{1,20}){2,3}")
"""Looks like a point, or a correction."""
WITHOUT_EFFECT = {"device", "keep_features", "timing", "doubt", "until"}


@dataclass(frozen=True, kw_only=True)
class TrackManyOptions(TrackSettings):
    """Options of `track_many`."""

    videos: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="VIDEO ...")] = field(kw_only=False)
    """Video file, folder of images, npy/npz array, or episode of a LeRobot data set (SET#episode=3); several of them, or a
    folder of videos or a whole such set, to track in each; or addresses of these (s3://, gs://, https://, hf://). With --online
    also the number of a camera, the address of a stream such as rtsp://..., or - for standard input."""
    out: Annotated[File | None, tyro.conf.arg(metavar="DIR|FILE")] = None
    """Folder for the results; by default the name of the video with -tracks. Of several videos each has a folder in it, and
    those that are done are not done again. Of one video also a single file: .csv, .npz, .json or .parquet (tracks), .mp4."""
    engine: Literal["local", "ray"] = "local"
    """What works on several videos: processes of this machine, or Ray on a cluster or this machine (needs tapetum[cluster])."""
    workers: int = 1
    """Processes that work at a time on this machine, each on a video."""
    report: Annotated[File | None, tyro.conf.arg(metavar="FILE.html")] = None
    """Write a page that needs no network: of one video the film with its points, which are tracked back to tell where they may
    be lost; of several a row each; what to look at first on top."""


@dataclass(frozen=True, kw_only=True)
class TrackedMany(Result):
    """Results of several videos."""

    out: Path
    """Folder with a folder per video, and videos.json with the summaries."""
    videos: Sequence[dict[str, Any]]
    """`Tracked.as_json` of each video; its name and the trouble if it could not be tracked."""
    report: Path | None = None

    @property
    def failed(self) -> list[dict[str, Any]]:
        """List the videos that could not be tracked."""
        return [summary for summary in self.videos if "trouble" in summary]

    @property
    def done(self) -> list[dict[str, Any]]:
        """List the videos that were tracked."""
        return [summary for summary in self.videos if "trouble" not in summary]

    def as_json(self) -> dict[str, Any]:
        return {"videos": list(self.videos), **({} if self.report is None else {"report": str(self.report)})}

    def as_text(self) -> str:
        places = sum(summary["points"] * summary["frames"] for summary in self.done)
        lines = [f"tracked in {len(self.done)} of {len(self.videos)} videos, {places} places"]
        lines += [f"results  {self.out}", f"table    {self.out / TABLE}"]
        return "\n".join(lines if self.report is None else [*lines, f"report   {self.report}"])

    def failure(self) -> str | None:
        failed = [summary["video"] for summary in self.failed]
        text = f"{len(failed)} of {len(self.videos)} videos could not be tracked ({', '.join(failed[:3])}); see above"
        return text if failed else None


@verb(TrackManyOptions, data=("videos", *SHOWN_BY))
def track_many(options: TrackManyOptions, listener: Listener) -> TrackedMany:
    """Track points through several videos, into folders in `out` (by default tracks).

    Videos that cannot be tracked are included in the result and reported to the listener. Raises BadInput if there is nothing
    to track, or two videos would share a folder.
    """
    from tapetum.core.finished import ComputedItems, ResultsOnDisk, read_finished, remove_unfinished
    from tapetum.core.identity import Outdated
    from tapetum.core.jobs import gpus_for, run_jobs
    from tapetum.data.entries import write_items
    from tapetum.report import check_report

    options.check()
    report = check_report(options.report)
    named = find_sources(options.videos)
    if options.correct:
        raise BadInput("--correct works on the tracks of one video; give that one, without --engine ray")
    if options.doubt:
        raise BadInput("--doubt lists the spans of one video on this machine; give one, without --engine ray")
    out = Path(options.out or "tracks")
    if one_file(out) is not None:
        raise BadInput(f"--out {out} is one file, and {len(named)} videos are tracked, each into its own; give a folder")
    if out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; give --out a folder, or a name that is free")
    check(out / TABLE)
    given = narrowed(TrackSettings, options, keep_features=options.keep_features)
    settings = _settings(given)
    check_options(options, workers="[1, inf)")
    if options.engine == "ray":
        out, named = Path(os.path.realpath(out)), [(name, os.path.realpath(source)) for name, source in named]
    alone = options.engine == "local" and options.workers == 1
    work = partial(_summary, given, settings, out, listener if alone else Listener())  # other processes print nothing
    outdated = Outdated(listener.note)
    results = ResultsOnDisk(len(named))
    for number, (name, source) in enumerate(named):
        before = read_finished(out / name / SUMMARY, partial(_stamp, settings, source), outdated) or {}
        before.pop("stamp", None)
        results[number] = before if (out / name / TRACKS).exists() else {}
    waiting = array("q", (number for number, summary in enumerate(results) if not summary))
    outdated.say(out)
    jobs = ComputedItems(named.__getitem__, waiting)
    for job, summary in run_jobs(
        work,
        jobs,
        partial(_loader, given),
        engine=options.engine,
        workers=options.workers,
        gpus=gpus_for(options.device),
        failure=_trouble,
        finished=len(named) - len(waiting),
        progress=partial(listener.progress, "videos"),
    ):
        results[waiting[job]] = summary
        if "trouble" in summary:
            listener.note(f"{jobs[job][0]}: {summary['trouble']}")
    folders = [out / name for name, _ in named]
    unfinished = {parent: sorted(parent.glob(".*.tmp")) for parent in {folder.parent for folder in folders}}
    for folder in folders:
        remove_unfinished(file for file in unfinished[folder.parent] if file.name.startswith(f".{folder.name}."))
        remove_unfinished(folder.glob(".*.tmp"))
    write_items(out / TABLE, results)
    if report is not None:
        from tapetum.app.track.report import write_videos_report

        write_videos_report(report, results, folders, listener)
    if undrawn := [each["video"] for each in results if not (options.no_overlay or "trouble" in each or each["overlay"])]:
        few = ", ".join(undrawn[:3])
        listener.note(f"{len(undrawn)} of {len(named)} videos have tracks but no overlay ({few}); tapetum show may draw it")
    return TrackedMany(out=out, videos=results, report=report)


def find_sources(given: Sequence[str]) -> list[tuple[str, str]]:
    """List the result name and source of each video, expanding folders of videos and LeRobot data sets.

    Raises BadInput if nothing was given, or two would have the same name.
    """
    from tapetum.video.images import IMAGES, videos_below

    if not given:
        raise BadInput("no video was given; give a video file, a folder of images or of videos, or an array")
    named = []
    for source in given:
        path = Path(source)
        if _POINT.fullmatch(source) and not path.exists():
            raise BadInput(f"{source} is no video; if it is a point, write --query (or --correct) before it: each takes one")
        episodes = []
        if "#" in source or path.is_dir():
            from tapetum.video.episodes import list_episodes

            episodes = list_episodes(source)
        if episodes:
            named += [(Path(os.path.abspath(episode)).name, episode) for episode in episodes]
            continue
        videos = videos_below(path) if path.is_dir() else []
        images = sum(p.suffix.lower() in IMAGES for p in path.iterdir()) if videos else 0
        if images:
            raise BadInput(
                f"{source} has {images} images and {len(videos)} videos in it ({videos[0].name}); give the files of the "
                "videos, or move these out of the folder of images"
            )
        inside = [(video.relative_to(path).as_posix(), str(video)) for video in videos]
        named += inside or [(Path(os.path.abspath(source)).name, source)]
    sources: dict[str, str] = {}
    for name, source in named:
        if name in sources:
            raise BadInput(f"{sources[name]} and {source} would both have their results in {name}; use two commands")
        sources[name] = source
    return named


def _settings(given: TrackSettings) -> dict[str, Any]:
    """Describe what all tracks depend on, as JSON: the settings, the contents of files they name, and the weights."""
    from tapetum.core.identity import stamp
    from tapetum.hub.registry import weights_fingerprint

    fields = {name: value for name, value in asdict(given).items() if name not in WITHOUT_EFFECT}
    fields["dtype"] = choose_dtype(given.dtype, given.device)
    files = {name: Path(v) for name, v in fields.items() if isinstance(v, str | Path) and Path(v).exists()}
    return json.loads(json.dumps(stamp(**{**fields, **files}, weights=weights_fingerprint(given.model or MODEL))))


def _stamp(settings: dict[str, Any], source: str) -> dict[str, Any]:
    """Describe everything the tracks of one video depend on."""
    from tapetum.core.identity import stamp
    from tapetum.video.episodes import files_of_episode

    files = files_of_episode(source)
    return {**settings, **stamp(video=[Path(source), *files] if files else Path(source))}


def _loader(given: TrackSettings) -> Callable[[], Any]:
    """Load the tracker of a process when its first video asks for it."""
    return cache(lambda: make_tracker(given, MODEL))


def _summary(
    given: TrackSettings, settings: dict[str, Any], out: Path, listener: Listener, job: tuple[str, str], load: Callable[[], Any]
) -> dict[str, Any]:
    """Track a video and write its summary."""

    name, source = job
    folder = out / name
    file = folder / SUMMARY
    about = _stamp(settings, source)
    folder.parent.mkdir(parents=True, exist_ok=True)
    check(file)
    file.unlink(missing_ok=True)
    summary = track_into(narrowed(TrackOptions, given, video=source, out=folder), listener, None, load).as_json()
    write_json(file, {**summary, "stamp": about})
    return summary


def _trouble(job: tuple[str, str], error: Exception) -> dict[str, Any]:
    """Describe a video that could not be tracked."""
    if isinstance(error, TapetumError):
        return {"video": str(job[1]), "trouble": str(error)}
    return {"video": str(job[1]), "trouble": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}


@dataclass(frozen=True, kw_only=True)
class TrackCommandOptions(TrackManyOptions):
    """Track points through a video.

    Writes overlay.mp4, tracks.npz (xy, visible, confidence, queries) and tracks.csv into a folder. Points are x, y in
    pixels from the top left corner of the image, so that the centre of the first pixel is 0.5, 0.5; frames count
    from 0. With --online and --json, a line of JSON is printed for each frame as soon as its points are known (type frame;
    frame, time_s, and id, x, y, visible, confidence, velocity in pixels a second, covariance in square pixels and chance_wrong
    of each point followed by then), one more when most points are lost or back (type event), and one at the end (type summary).
    """

    online: bool = False
    """Follow points frame by frame as they come, with a causal model, until the source ends or Ctrl-C. Frames of cameras and
    addresses that are late are dropped."""
    drop: bool = False
    """With --online, keep up with a pipe: drop frames that are late, and count them. Cameras and addresses always do so; files
    wait."""
    lag: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 0.1
    """With --online, how late a frame may be taken up, by the source's own times, before it is dropped."""
    preview: Annotated[str | None, tyro.conf.arg(metavar="TO")] = None
    """With --online, show the overlay meanwhile: window, or a file (or - for stdout) that gets it as mjpeg."""
    json: JSON = False


@verb(TrackCommandOptions, data=("videos", *SHOWN_BY))
def track_any(options: TrackCommandOptions, listener: Listener) -> "Tracked | TrackedMany | TrackedLive | None":
    """Run `tapetum track` with these options."""
    if options.online:
        return _track_live(options, listener)
    if options.preview is not None:
        raise BadInput("--preview belongs to --online; without it, look at overlay.mp4 afterwards")
    if options.drop or options.lag != 0.1:
        raise BadInput(
            f"{'--drop' if options.drop else '--lag'} belongs to --online; without it all frames of the video are tracked"
        )
    named = find_sources(options.videos)
    if len(named) > 1 or options.engine == "ray":
        return track_many.run(options, listener)
    out = options.out or Path(f"{plain_name(options.videos[0])}-tracks")
    return track.run(narrowed(TrackOptions, options, video=named[0][1], out=out), listener)


def _track_live(options: TrackCommandOptions, listener: Listener) -> "TrackedLive | None":
    from tapetum.app.track.live import TrackLiveOptions, preview, track_live

    if len(options.videos) != 1:
        raise BadInput(f"{len(options.videos)} videos were given; --online takes one")
    if options.report is not None:
        raise BadInput("--report shows a video that is there as a whole, and --online follows one as it comes; leave one out")
    source = options.videos[0]
    named = "://" not in source and source != "-" and not source.isdecimal()
    if options.json and options.preview == "-":
        raise BadInput("--json and --preview - would both write to stdout; give --preview a file or a window")
    out = options.out or Path(f"{(named and Path(source).stem) or 'live'}-tracks")
    each = listener.part if options.json else None
    live = narrowed(TrackLiveOptions, options, source=source, out=out, viewer=None, each=each, event=each)
    live.check()
    with ExitStack() as cleanup:
        viewer = preview(options.preview, cleanup)
        tracked = track_live.run(narrowed(TrackLiveOptions, live, viewer=viewer), listener)
    if options.preview != "-":
        return tracked
    listener.note(json.dumps(tracked.as_json()))  # stdout has the images
    return None
