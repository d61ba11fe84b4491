"""Published values of named encoders on one photograph, by which weights that were fetched are checked. Imports no torch.

The photograph is COCO val2017's 000000039769.jpg (http://images.cocodataset.org/val2017/000000039769.jpg), two cats on a sofa.
The values are those of transformers' own tests and conversion scripts.
"""

from dataclasses import dataclass

PHOTOGRAPH = "http://images.cocodataset.org/val2017/000000039769.jpg"


@dataclass(frozen=True, kw_only=True)
class ReferenceValues:
    """What a network computes of the photograph."""

    texts: tuple[str, ...] = ()
    logits: tuple[float, ...] = ()
    """Of the photograph with each of the texts."""
    pooled: tuple[float, ...] = ()
    """The first numbers of the pooled vector."""
    size: tuple[int, int] | None = None
    """Rows and columns to which the image is squashed for `pooled`; None: as the weights want it."""
    tolerance: float = 0.01


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
}
"""By the name of the weights."""
