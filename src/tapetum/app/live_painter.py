"""Draws the points of a live run on its frames."""

from typing import TYPE_CHECKING

from tapetum.app.show import DrawSettings

if TYPE_CHECKING:
    import numpy as np


class LivePainter:
    """Paints frames of one size, as settings say."""

    def __init__(
        self,
        settings: DrawSettings,
        places: "np.ndarray",
        width: int,
        height: int,
        names: tuple[str, ...] | None = None,
    ):
        """For points that begin at these `places` (n, 2), and frames of this size."""
        import numpy as np

        from tapetum.video import TrackPainter, point_colours

        self._size = settings.scaled(width, height)
        self._scale = np.array(self._size, np.float32) / np.array((width, height), np.float32)
        self._painter = TrackPainter(
            self._size[1],
            self._size[0],
            point_colours(places, width, height),
            trail=settings.trail,
            radius=settings.radius,
            rings=settings.rings == "yes",
            labels=settings.labels(len(places), names),
        )

    def paint(self, frame: "np.ndarray", xy: "np.ndarray", visible: "np.ndarray") -> "np.ndarray":
        """Return the frame, in the size of the overlay, with n points (n, 2) on it."""
        from tapetum.video.subset import resize_frame

        return self._painter.paint(resize_frame(frame, *self._size), xy * self._scale, visible)
