"""Cuts of a video: some of its frames, at another size; tracks are converted back to pixels of the original."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.tracks.points import Point
    from tapetum.types import Tracks
    from tapetum.video import Video


@dataclass(frozen=True, kw_only=True)
class CutSettings:
    """Part of a video that is tracked."""

    start: Annotated[str | None, tyro.conf.arg(metavar="FRAME|SECONDSs")] = None
    """First frame to track: its number, as 120, or its time with an s, as 4.5s."""
    end: Annotated[str | None, tyro.conf.arg(metavar="FRAME|SECONDSs")] = None
    """First frame, or time, that is not tracked any more."""
    stride: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Track on every N-th frame only."""
    resize: Annotated[str | None, tyro.conf.arg(metavar="N|WxH")] = None
    """Give the tracker smaller frames: N pixels along the longer side, or W x H. Faster where the video is larger than 256x256,
    the least at which a network looks, and less exact. Points stay in pixels of the video."""

    @property
    def cuts(self) -> bool:
        """Check whether frames are left out."""
        return self.start is not None or self.end is not None or self.stride != 1


@dataclass(frozen=True)
class Cut:
    """A video, or the part of it that is worked on."""

    video: "Video"
    """Its frames, at their own size."""
    small: "Video"
    """What the tracker sees."""

    @property
    def numbers(self) -> list[int]:
        """List the frame numbers in the whole video."""
        known = getattr(self.video, "numbers", None)
        return list(range(len(self.video))) if known is None else known.tolist()

    @property
    def _cut(self) -> bool:
        return hasattr(self.video, "numbers")

    def points(self, points: "list[Point]") -> "list[Point]":
        """Convert points (frame of the whole video, x, y) to frames of the cut. Raises BadInput for frames outside it."""
        if not self._cut:
            return points
        numbers = self.numbers
        places = {number: place for place, number in enumerate(numbers)}
        whole = numbers[-1] - numbers[0] == len(numbers) - 1
        shifted = []
        for t, x, y in points:
            place = t - numbers[0] if whole and numbers[0] <= t <= numbers[-1] else places.get(t)  # type: ignore[call-overload]
            if place is None:
                near = sorted(sorted(numbers, key=lambda number: abs(number - t))[:2])
                raise BadInput(
                    f"a point is on frame {t:g}, which is not among the frames that are tracked ({numbers[0]} to {numbers[-1]}"
                    f"{'' if whole else ', not all of them'}); put it on frame {' or '.join(map(str, near))}"
                )
            shifted.append((place, x, y))
        return shifted

    def shrunk(self, points: "list[Point]") -> "list[Point]":
        """Scale points to pixels of the tracker's input frames."""
        across, down = self.small.width / self.video.width, self.small.height / self.video.height
        return [(t, min(x * across, self.small.width), min(y * down, self.small.height)) for t, x, y in points]

    def sizes(self, tracker: Any) -> dict[str, Any]:
        """Choose the sizes at which a tracker refines tracks, as its arguments; see `sizes_of`."""
        return sizes_of(tracker, (self.small.width, self.small.height), (self.video.width, self.video.height))

    def whole(self, tracks: "Tracks", queries: "list[Point]") -> "Tracks":
        """Scale tracks to pixels of the video, and add frame times, and frame numbers if some were left out."""
        import numpy as np

        scale = np.array([self.video.width / self.small.width, self.video.height / self.small.height])
        if (scale != 1).any():
            tracks = replace(tracks, xy=tracks.xy * scale, queries=np.array(queries, np.float32))
        times = np.round(self.video.timestamps, 9) if self.video.clocked else None  # 0.3 rather than 3 * 0.1
        return replace(tracks, times=times, numbers=np.array(self.numbers) if self._cut else None)


def sizes_of(tracker: Any, small: tuple[int, int], whole: tuple[int, int]) -> dict[str, Any]:
    """Choose the sizes at which a network refines tracks in downscaled frames (width, height): none larger than these.

    A small network upscales small videos, which helps (`refine_at_least`) but would cost all that smaller frames save.
    """
    config = getattr(getattr(tracker, "model", None), "config", None)
    if getattr(config, "refine_at_least", None) is None or small[0] * small[1] >= whole[0] * whole[1]:
        return {}
    from tapetum.systems.tap.model import default_resolutions

    sizes = default_resolutions((small[1], small[0]), config.initial_resolution)  # pyright: ignore[reportOptionalMemberAccess]
    return {"refinement_resolutions": [size for size in sizes if min(size) >= 8 << config.pyramid_level]}  # pyright: ignore[reportOptionalMemberAccess]


def cut(video: "Video", settings: CutSettings) -> Cut:
    """Cut a video whose true number of frames is known. Raises BadInput if nothing is left of it."""
    from tapetum.video.types import ResizedVideo, VideoSubset, parse_frame_range, parse_size

    part = (
        VideoSubset(video, parse_frame_range(video, settings.start, settings.end, settings.stride)) if settings.cuts else video
    )
    if settings.resize is None:
        return Cut(part, part)
    width, height = parse_size(settings.resize, video.width, video.height)
    return Cut(part, ResizedVideo(part, width, height))
