"""Published outputs of named encoders, used to check fetched weights. Imports no torch.

Those of SigLIP 2 NaFlex are of three drawn circles, which `draw_circles` reproduces. All others are of a photograph, COCO
val2017's 000000039769.jpg (http://images.cocodataset.org/val2017/000000039769.jpg), two cats on a sofa. The values come from
transformers' own tests and conversion scripts.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

PHOTOGRAPH = "http://images.cocodataset.org/val2017/000000039769.jpg"


@dataclass(frozen=True, kw_only=True)
class ReferenceValues:
    """What a network computes of the photograph, or of the drawn circles."""

    texts: tuple[str, ...] = ()
    logits: tuple[float, ...] = ()
    """Of the photograph with each of the texts."""
    drawn: tuple[tuple[float, float, float], ...] = ()
    """Logits of each of the texts with the three drawn circles; the photograph is then not needed."""
    pooled: tuple[float, ...] = ()
    """The first numbers of the pooled vector."""
    size: tuple[int, int] | None = None
    """Rows and columns to which the image is squashed for `pooled`; None: as the weights want it."""
    tolerance: float = 0.01


def draw_circles() -> list[UInt8[np.ndarray, "h w 3"]]:
    """Draw a blue circle with a green border on red, 224 x 224, 1024 x 1024 and 224 x 1024 (rows, columns), by Pillow.

    The border is a twentieth of the width; the radius is 7 eighths of the largest one, in steps of 7 pixels.
    """
    from PIL import Image, ImageDraw

    drawn = []
    for rows, columns in ((224, 224), (1024, 1024), (224, 1024)):
        image = Image.new("RGB", (columns, rows), "red")
        x, y, radius = columns // 2, rows // 2, min(rows, columns) // 16 * 7
        box = x - radius, y - radius, x + radius, y + radius
        ImageDraw.Draw(image).ellipse(box, fill="blue", outline="green", width=columns // 20)
        drawn.append(np.asarray(image))
    return drawn


REFERENCE_VALUES: dict[str, ReferenceValues] = {
    "siglip-base-16": ReferenceValues(texts=("a photo of 2 cats", "a photo of 2 dogs"), logits=(-0.7567, -10.3354)),
    "clip-base-32": ReferenceValues(texts=("a photo of a cat", "a photo of a dog"), logits=(24.5701, 19.3049), tolerance=0.05),
    "dinov3-small": ReferenceValues(pooled=(0.4636, -0.4156, 0.4082, -0.1266, -0.2867), size=(224, 224)),
    "dinov3-base": ReferenceValues(pooled=(1.0346, -0.1806, -0.3410, -0.0664, -0.0114), size=(224, 224)),
    "dinov3-large": ReferenceValues(pooled=(0.4845, -0.5822, 0.4806, 0.5920, 0.9452), size=(224, 224)),
    "tipsv2-base": ReferenceValues(
        texts=("two cats on a sofa", "a cat lying down", "a dog on a couch", "an empty room"),
        logits=(31.1219, 26.9934, 20.2675, 17.5554),
        tolerance=0.1,
    ),
    "siglip2-base-16-naflex": ReferenceValues(
        texts=(
            "circle",
            "ellipsoid",
            "blue circle on red background",
            "blue circle with green border on red background",
            "green circle on red background",
            "a dog",
            "a blue dog with a green border on a red background",
        ),
        drawn=(
            (1.0195, -0.0280, -1.4468),
            (-4.5395, -6.2269, -1.5667),
            (4.1757, 5.0358, 3.5159),
            (9.4264, 10.1879, 6.3353),
            (2.4409, 3.1058, 4.5491),
            (-12.3230, -13.7355, -13.4632),
            (1.1520, 1.1687, -1.9647),
        ),
        tolerance=0.1,
    ),
}
"""By the name of the weights."""
