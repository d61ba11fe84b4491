"""`tapetum track`: points through a video, as a video to look at and a table to work with."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.live import track_live
from tapetum.app.live_frame import LiveFrame
from tapetum.app.live_options import TrackLiveOptions
from tapetum.app.many import TrackManyOptions, find_sources, track_many
from tapetum.app.shell.allocator import keep_freed_memory
from tapetum.app.shell.output import note, print_json, print_line, terminal
from tapetum.app.shell.preview import preview
from tapetum.app.track import TrackOptions, track
from tapetum.app.verb import narrowed
from tapetum.core.errors import BadInput
from tapetum.core.files import plain_name


@dataclass(frozen=True, kw_only=True)
class Track(TrackManyOptions):
    """Track points through a video.

    Writes overlay.mp4, tracks.npz (xy, visible, confidence, queries) and tracks.csv into a folder. Points are x, y in
    pixels from the top left corner of the image, so that the centre of the first pixel is 0.5, 0.5; frames count
    from 0.
    """

    online: bool = False
    """Follow points frame by frame as they come, with a causal model, until the source ends or Ctrl-C. Frames of cameras and
    addresses that come too fast are dropped."""
    preview: Annotated[str | None, tyro.conf.arg(metavar="TO")] = None
    """With --online, show the overlay meanwhile: window, or a file (or - for stdout) that gets it as mjpeg."""
    json: bool = False
    """Print a summary as JSON instead of text. With --online, a line of JSON for each frame as soon as its points are known
    (type frame; frame, time_s, and id, x, y, visible, confidence of each point followed by then), and at the end one more (type
    summary)."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.check()
        keep_freed_memory()
        if self.online:
            self._live()
            return
        if self.preview is not None:
            raise BadInput("--preview belongs to --online; without it, look at overlay.mp4 afterwards")
        named = find_sources(self.videos)
        if len(named) > 1 or self.engine == "ray":
            self._many()
        else:
            self._one(named[0][1])

    def _one(self, source: str) -> None:
        out = self.out or Path(f"{plain_name(self.videos[0])}-tracks")
        with terminal() as listener:
            tracked = track.run(narrowed(TrackOptions, self, video=source, out=out), listener)
        summary = tracked.as_json()
        if self.json:
            print_json(summary)
        else:
            print("\n".join(_lines(summary) + (_lines_3d(summary) if self.three_d else [])))

    def _many(self) -> None:
        with terminal() as listener:
            tracked = track_many.run(self, listener)
        done, every = tracked.done, len(tracked.videos)
        if self.json:
            print_json(tracked.as_json())
        else:
            places = sum(summary["points"] * summary["frames"] for summary in done)
            print(f"tracked in {len(done)} of {every} videos, {places} places")
            print(f"results  {tracked.out}\ntable    {tracked.out / 'videos.json'}")
        if failed := [summary["video"] for summary in tracked.failed]:
            raise BadInput(f"{len(failed)} of {every} videos could not be tracked ({', '.join(failed[:3])}); see above")

    def _live(self) -> None:
        if len(self.videos) != 1:
            raise BadInput(f"{len(self.videos)} videos were given; --online takes one")
        source = self.videos[0]
        if self.json and self.preview == "-":
            raise BadInput("--json and --preview - would both write to stdout; give --preview a file or a window")
        out = self.out or _live_folder(source)
        options = narrowed(
            TrackLiveOptions, self, source=source, out=out, viewer=None, each=_print_frame if self.json else None
        )
        options.check()
        with ExitStack() as cleanup:
            viewer = preview(self.preview, cleanup)
            listener = cleanup.enter_context(terminal())
            summary = track_live.run(narrowed(TrackLiveOptions, options, viewer=viewer), listener).as_json()
        if self.preview == "-":
            note(json.dumps(summary))
        elif self.json:
            print_line({"type": "summary", **summary})
        else:
            print("\n".join(_lines_live(summary)))


def _print_frame(frame: LiveFrame) -> None:
    print_line(frame.as_json())


def _live_folder(source: str) -> Path:
    """Where results go if nothing else is asked for."""
    name = Path(source).stem if "://" not in source and source not in ("-",) and not source.isdecimal() else "live"
    return Path(f"{name or 'live'}-tracks")


def _lines(summary: dict[str, Any]) -> list[str]:
    return [
        f"tracked {summary['points']} points through {summary['frames']} frames of {summary['video']}"
        f" ({summary['width']}x{summary['height']}) with {summary['model']} in {summary['seconds']:.1f} s",
        *_files(summary),
    ]


def _lines_3d(summary: dict[str, Any]) -> list[str]:
    unit = "metres" if summary["metric"] else "an unknown unit, the same everywhere"
    lines = [f"in space {summary['tracks3d']} (in {unit})", f"table    {summary['table3d']}"]
    return [*lines, f"view     {summary['view']}"] if "view" in summary else lines


def _lines_live(summary: dict[str, Any]) -> list[str]:
    return [
        f"followed {summary['points']} points through {summary['frames']} frames of {summary['video']}"
        f" ({summary['width']}x{summary['height']}) with {summary['model']}: {summary['frames_per_second']:.1f} frames/s,"
        f" {summary['frames_dropped']} dropped",
        f"latency  {summary['latency_ms_median']:.0f} ms (median), {summary['latency_ms_95']:.0f} (95 %),"
        f" {summary['latency_ms_max']:.0f} (most)",
        *_files(summary),
    ]


def _files(summary: dict[str, Any]) -> list[str]:
    return [f"{name:8} {summary[name]}" for name in ("overlay", "tracks", "table") if summary[name]]
