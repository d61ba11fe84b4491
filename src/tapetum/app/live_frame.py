"""What is known of one frame of a live run, as soon as it is known."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveFrame:
    """Points in one frame of a live source."""

    frame: int
    """Number of the frame in the source, dropped ones counted."""
    time_s: float
    """Seconds, as the source states them; by number and rate where it states none."""
    ids: "np.ndarray"
    """int (n,): of the points that are followed by now, as in the tables."""
    xy: "np.ndarray"
    """float32 (n, 2): raster pixels."""
    confidence: "np.ndarray"
    """float32 (n,): above 0.5 a point is visible."""
    names: tuple[str, ...] | None = None
    """What the points are called, where they have names."""

    def as_json(self) -> dict[str, Any]:
        """Return what a line of JSON says of the frame."""
        points = []
        for row, (number, (x, y), sure) in enumerate(zip(self.ids, self.xy, self.confidence, strict=True)):
            point = {"id": int(number), "x": round(float(x), 3), "y": round(float(y), 3)}
            point |= {"visible": bool(sure > 0.5), "confidence": round(float(sure), 4)}
            points.append(point if self.names is None else {**point, "name": self.names[row]})
        return {"type": "frame", "frame": self.frame, "time_s": round(self.time_s, 6), "points": points}
