"""`tapetum track`: one video, several, or a live source, handled by `tapetum.app.track.track`, `many` and `live`."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tapetum.app.commands import JSON
from tapetum.app.track.live import TrackedLive, TrackLiveOptions, track_live
from tapetum.app.track.many import TrackedMany, TrackManyOptions, find_sources, track_many
from tapetum.app.track.preview import preview
from tapetum.app.track.track import SHOWN_BY, Tracked, TrackOptions, track
from tapetum.app.verb import Listener, narrowed, verb
from tapetum.core.devices import keep_freed_memory
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name


@dataclass(frozen=True, kw_only=True)
class TrackCommandOptions(TrackManyOptions):
    """Track points through a video.

    Writes overlay.mp4, tracks.npz (xy, visible, confidence, queries) and tracks.csv into a folder. Points are x, y in
    pixels from the top left corner of the image, so that the centre of the first pixel is 0.5, 0.5; frames count
    from 0. With --online and --json, a line of JSON is printed for each frame as soon as its points are known (type frame;
    frame, time_s, and id, x, y, visible, confidence of each point followed by then), and at the end one more (type summary).
    """

    online: bool = False
    """Follow points frame by frame as they come, with a causal model, until the source ends or Ctrl-C. Frames of cameras and
    addresses that come too fast are dropped."""
    preview: Annotated[str | None, tyro.conf.arg(metavar="TO")] = None
    """With --online, show the overlay meanwhile: window, or a file (or - for stdout) that gets it as mjpeg."""
    redetect: bool = False
    """With --online, seek points that were hidden for long in the whole frame, and show them only once network and images
    agree."""
    json: JSON = False


@verb(TrackCommandOptions, data=("videos", *SHOWN_BY))
def track_any(options: TrackCommandOptions, listener: Listener) -> Tracked | TrackedMany | TrackedLive | None:
    """Run `tapetum track` with these options."""
    options.check()
    keep_freed_memory()
    if options.online:
        return _track_live(options, listener)
    if options.preview is not None:
        raise BadInput("--preview belongs to --online; without it, look at overlay.mp4 afterwards")
    if options.redetect:
        raise BadInput("--redetect belongs to --online; without it points are sought in all of the video anyway")
    named = find_sources(options.videos)
    if len(named) > 1 or options.engine == "ray":
        return track_many.run(options, listener)
    out = options.out or Path(f"{plain_name(options.videos[0])}-tracks")
    return track.run(narrowed(TrackOptions, options, video=named[0][1], out=out), listener)


def _track_live(options: TrackCommandOptions, listener: Listener) -> TrackedLive | None:
    if len(options.videos) != 1:
        raise BadInput(f"{len(options.videos)} videos were given; --online takes one")
    if options.report is not None:
        raise BadInput("--report shows a video that is there as a whole, and --online follows one as it comes; leave one out")
    source = options.videos[0]
    if options.json and options.preview == "-":
        raise BadInput("--json and --preview - would both write to stdout; give --preview a file or a window")
    out = options.out or _live_folder(source)
    each = listener.part if options.json else None
    live = narrowed(TrackLiveOptions, options, source=source, out=out, viewer=None, each=each)
    live.check()
    with ExitStack() as cleanup:
        viewer = preview(options.preview, cleanup)
        tracked = track_live.run(narrowed(TrackLiveOptions, live, viewer=viewer), listener)
    if options.preview != "-":
        return tracked
    listener.note(json.dumps(tracked.as_json()))  # stdout has the images
    return None


def _live_folder(source: str) -> Path:
    """Name the result folder of a live source."""
    name = Path(source).stem if "://" not in source and source != "-" and not source.isdecimal() else "live"
    return Path(f"{name or 'live'}-tracks")
