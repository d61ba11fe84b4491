"""Reading, writing and drawing of videos, used by every system. Needs numpy, PyAV and Pillow, no torch."""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.video.draw import TrackPainter, colour_wheel, draw_tracks, point_colours, position_colours
    from tapetum.video.live import LiveVideo
    from tapetum.video.read import open_video
    from tapetum.video.types import DecodeReport, Video
    from tapetum.video.write import write_video

__all__ = [
    "DecodeReport",
    "LiveVideo",
    "TrackPainter",
    "Video",
    "colour_wheel",
    "draw_tracks",
    "open_video",
    "point_colours",
    "position_colours",
    "write_video",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "draw": ("TrackPainter", "colour_wheel", "draw_tracks", "point_colours", "position_colours"),
        "live": ("LiveVideo",),
        "read": ("open_video",),
        "types": ("DecodeReport", "Video"),
        "write": ("write_video",),
    },
)
