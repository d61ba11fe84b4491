"""Tracks on their video as a page in a notebook: the result of `Tracks.show` and of `tapetum.track`."""

import base64
import html
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tapetum.core.errors import BadInput
from tapetum.core.files import write_text
from tapetum.core.reading import read_bytes
from tapetum.types import Tracks
from tapetum.video import Video, draw_tracks, open_video, write_video
from tapetum.video.types import ResizedVideo, VideoSubset

MOST_BYTES = 2_000_000
"""Maximum size of a view in a notebook."""
_FRAMES, _SIDE = 240, 560
"""Maximum number of frames, and of pixels along the longer side."""


@dataclass(frozen=True)
class TrackView:
    """A page with a film of the tracks; a notebook shows it, elsewhere `save` writes it."""

    page: str
    """HTML that needs no other file."""

    def save(self, path: str | Path) -> Path:
        """Write the page as a file. Raises BadInput if it cannot be written."""
        write_text(path, self.page)
        return Path(path)

    def _repr_html_(self) -> str:
        about = "style='width:100%;height:620px;border:0' sandbox title='Tracks'"
        return f"<iframe {about} srcdoc='{html.escape(self.page, quote=True)}'></iframe>"

    def __repr__(self) -> str:
        return f"TrackView of {len(self.page) / 1e6:.2f} MB; a notebook shows it, save('view.html') writes it"


def view_tracks(tracks: Tracks, source: Any) -> TrackView:
    """Build the view of tracks on their video, at most `MOST_BYTES` large; long videos are subsampled.

    Args:
        tracks: n points through t frames.
        source: path, array (t, h, w, 3) or open `Video` that they come from.

    Raises:
        BadInput: the video cannot be opened, or is not that of the tracks; there is nothing to show.
    """
    from tapetum.tracks.exchange import check_video, tracked_part

    if not tracks.points or not tracks.frames:
        raise BadInput(f"there is nothing to show: the tracks have {tracks.points} points in {tracks.frames} frames")
    video = open_video(source)
    try:
        if not isinstance(source, Video):
            video.check()  # so that its true number of frames is known
        part = tracked_part(video, tracks)
        check_video(tracks, part)
        shown = np.unique(np.linspace(0, tracks.frames - 1, min(tracks.frames, _FRAMES)).round().astype(int))
        lines = [f"{tracks.points} points in {tracks.frames} frames"]
        if len(shown) < tracks.frames:
            part = VideoSubset(part, shown.tolist())
            lines.append(f"{len(shown)} of the frames are shown.")
        side = min(_SIDE, max(part.width, part.height))
        while True:
            view = TrackView(_page(lines, _film(tracks, part, shown, side / max(part.width, part.height))))
            share = MOST_BYTES / len(view._repr_html_().encode())
            if share >= 1 or side < 32:
                return view
            side = int(side * 0.9 * share**0.5)
    finally:
        if video is not source:
            video.close()


def _film(tracks: Tracks, video: Video, shown: np.ndarray, scale: float) -> bytes:
    """Encode the frames `shown` with their tracks as mp4."""
    small = ResizedVideo(video, max(round(video.width * scale), 2), max(round(video.height * scale), 2))
    size = small.width / video.width, small.height / video.height
    drawn = draw_tracks(small, tracks.xy[:, shown] * size, tracks.visible[:, shown], labels=tracks.names)
    with tempfile.TemporaryDirectory() as folder:
        return read_bytes(write_video(Path(folder) / "film.mp4", drawn, video.frame_rate))


def _page(lines: list[str], film: bytes) -> str:
    policy = "default-src 'none'; media-src data:"
    head = f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}"><title>{lines[0]}</title>'
    text = "".join(f"<p>{line}</p>" for line in lines)
    data = f"data:video/mp4;base64,{base64.b64encode(film).decode()}"
    return f'<!doctype html><html lang="en">{head}{text}<video controls loop autoplay muted width="100%" src="{data}"></video>'
