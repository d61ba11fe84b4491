"""Regions of an image for a grid of query points: a box, or the white pixels of a mask."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.core.tables import cells_of
from tapetum.tracks.points import Point, grid_points

if TYPE_CHECKING:
    import numpy as np

_LOSSY = (".jpg", ".jpeg", ".webp", ".heic", ".heif")


def region_points(region: Any, side: int, frame: int, width: int, height: int) -> list[Point]:
    """Compute the centres of a grid of `side` x `side` cells that lie on a region of an image, row by row.

    The cells of a mask fill its bounding box.

    Args:
        region: a box x1,y1,x2,y2 in raster pixels, as text or four numbers; or a mask of the image's size, as a file (PNG) or
            an array (h, w), whose pixels other than 0 belong to the region.
        frame: of the points.

    Raises:
        BadInput: the region is neither, is outside the image, or has no centre on it.

    >>> region_points("16,8,32,24", 2, 3, 64, 48)
    [(3, 20.0, 12.0), (3, 28.0, 12.0), (3, 20.0, 20.0), (3, 28.0, 20.0)]
    """
    mask = None if (box := _box(region, width, height)) is not None else _mask(region, width, height)
    if mask is not None:
        import numpy as np

        down, across = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        if not len(down):
            raise BadInput(f"the mask {_named(region)} is all black; paint the region in it white")
        box = float(across[0]), float(down[0]), float(across[-1] + 1), float(down[-1] + 1)
    assert box is not None
    x1, y1, x2, y2 = box
    points: list[Point] = [(frame, x1 + x, y1 + y) for _, x, y in grid_points(side, frame, x2 - x1, y2 - y1)]
    if mask is not None:
        points = [point for point in points if mask[int(point[2]), int(point[1])]]
    if not points:
        raise BadInput(f"none of {side}x{side} points lies on the mask {_named(region)}; give a larger --grid")
    return points


def _box(region: Any, width: int, height: int) -> tuple[float, float, float, float] | None:
    """Four numbers, or None if the region is something else."""
    parts = cells_of(region) if isinstance(region, str) else region
    if isinstance(parts, Path) or not isinstance(parts, Sequence) or len(parts) != 4 or Path(str(region)).exists():
        return None
    try:
        x1, y1, x2, y2 = (float(part) for part in parts)
    except (TypeError, ValueError):
        return None
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise BadInput(
            f"--region {_named(region)} is no box in an image of {width}x{height} pixels; give x1,y1,x2,y2, left before right "
            "and upper before lower"
        )
    return x1, y1, x2, y2


def _mask(region: Any, width: int, height: int) -> "np.ndarray":
    """bool (h, w)."""
    import numpy as np

    mask = read_mask(Path(region)) if isinstance(region, str | Path) else np.asarray(region) != 0
    if mask.shape != (height, width):
        size = "x".join(str(number) for number in mask.shape[::-1])
        raise BadInput(f"the mask {_named(region)} has {size} pixels, the image {width}x{height}; give one of its size")
    return mask


def read_mask(path: Path) -> "np.ndarray":
    """Read a mask (h, w) of bools: pixels that are not black; with a palette, those whose index is not 0.

    Transparent parts are outside. Raises BadInput for files that are not images, or with lossy compression.
    """
    import numpy as np
    from PIL import Image

    if path.suffix.lower() in _LOSSY:
        raise BadInput(f"--region {path} is compressed with loss, so that its black is not black; give a PNG")
    if not path.is_file():
        raise BadInput(f"--region {path} is neither a file nor a box; give a PNG, or x1,y1,x2,y2")
    try:
        with Image.open(no_pipe(path)) as image:
            if image.mode == "P":
                return np.asarray(image) != 0
            clear = np.asarray(image.convert("RGBA"))[..., 3] if "A" in image.mode else np.uint8(255)
            grey = image.mode in ("1", "L", "I", "I;16", "F")
            values = np.asarray(image) if grey else np.asarray(image.convert("RGB")).max(-1)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"--region {path} is no image that can be read ({error}); give a PNG") from error
    return (values != 0) & (clear > 127)


def _named(region: Any) -> str:
    return str(region) if isinstance(region, str | Path) else f"({type(region).__name__})"
