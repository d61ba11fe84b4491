"""`tapetum weights check`: whether fetched weights are intact, load, and reproduce the published values."""

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    import numpy as np

    from tapetum.encoders import Encoder
    from tapetum.encoders.published import ReferenceValues


@dataclass(frozen=True)
class WeightsCheckOptions:
    """Check weights that were fetched: the SHA-256 of each file, that they load, and published values where there are some.

    The values are of one photograph of COCO, which is not fetched: give it with --image. Those of siglip2-base-16-naflex are of
    images that are drawn, and need none.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|OWNER/NAME")]
    """Name of the weights."""
    _: KW_ONLY
    image: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """The photograph: http://images.cocodataset.org/val2017/000000039769.jpg."""


@dataclass(frozen=True, kw_only=True)
class WeightsChecked(Result):
    """What was checked."""

    name: str
    path: Path
    revision: str | None
    files: int
    """Files that have the SHA-256 of when they were fetched; 0 for those that were put there by hand."""
    kind: str
    parameters: int
    values: tuple[tuple[str, float, float], ...]
    """What was compared: its name, the published value, and ours."""
    tolerance: float

    def as_json(self) -> dict[str, Any]:
        values = [{"of": of, "published": published, "computed": computed} for of, published, computed in self.values]
        return {
            "name": self.name,
            "path": str(self.path),
            "revision": self.revision,
            "files": self.files,
            "kind": self.kind,
            "parameters": self.parameters,
            "values": values,
            "equal": self.failure() is None if values else None,
        }

    def as_text(self) -> str:
        sums = f"{self.files} files are as they were fetched" if self.files else "no sums are known, for nothing was fetched"
        lines = [f"{self.path}: {sums}", f"{self.kind}, {self.parameters / 1e6:,.1f} M parameters"]
        lines += [f"{computed:10.4f}  published {published:10.4f}  {of}" for of, published, computed in self.values]
        return "\n".join(lines if self.values else [*lines, "no published value was compared"])

    def failure(self) -> str | None:
        far = [f"{of} is {ours:.4f}, not {value:.4f}" for of, value, ours in self.values if abs(ours - value) > self.tolerance]
        return f"{self.name}: {'; '.join(far)}" if far else None


@verb(WeightsCheckOptions)
def check(options: WeightsCheckOptions, listener: Listener) -> WeightsChecked:
    """Check the files of fetched weights, load them, and compare with published values.

    Raises BadInput if they are not on this machine, a file has changed, or they do not load.
    """
    from tapetum.encoders.published import PHOTOGRAPH, REFERENCE_VALUES
    from tapetum.hub.loading import load
    from tapetum.hub.registry import resolve
    from tapetum.hub.repositories import check_files, read_record

    path, entry = resolve(options.name)
    files = check_files(path) if path.is_dir() else 0
    network = load(options.name)
    parameters = getattr(getattr(network, "model", network), "parameters", lambda: ())()
    expected = REFERENCE_VALUES.get(entry.name if entry is not None else "")
    if options.image is not None and (expected is None or expected.drawn):
        raise BadInput(f"no published values of {options.name} on the photograph are known; leave --image out")
    values: list[tuple[str, float, float]] = []
    if expected is not None and expected.drawn:
        values = _drawn(network, expected)
    elif expected is not None and options.image is None:
        listener.line(f"published values are known: give --image with {PHOTOGRAPH}")
    elif expected is not None:
        values = _of_photograph(network, expected, Path(str(options.image)))
    return WeightsChecked(
        name=options.name,
        path=path,
        revision=read_record(path).get("revision"),
        files=files,
        kind=type(network).__name__,
        parameters=sum(each.numel() for each in parameters),
        values=tuple(values),
        tolerance=0.0 if expected is None else expected.tolerance,
    )


def _drawn(network: Any, expected: "ReferenceValues") -> list[tuple[str, float, float]]:
    from tapetum.encoders.published import draw_circles

    images = draw_circles()
    logits = network.logits(images, expected.texts)
    return [
        (f"{text}, drawn on {image.shape[1]} x {image.shape[0]}", published, float(logits[i, t]))
        for t, (text, row) in enumerate(zip(expected.texts, expected.drawn, strict=True))
        for i, (image, published) in enumerate(zip(images, row, strict=True))
    ]


def _of_photograph(network: Any, expected: "ReferenceValues", path: Path) -> list[tuple[str, float, float]]:
    from tapetum.video.read import read_image

    image, values = read_image(path, str(path)), list[tuple[str, float, float]]()
    if expected.texts:
        values += zip(expected.texts, expected.logits, network.logits([image], expected.texts)[0].tolist(), strict=True)
    numbers = _pooled(network, image, expected.size) if expected.pooled else ()
    values += [(f"pooled[{k}]", value, ours) for k, (value, ours) in enumerate(zip(expected.pooled, numbers, strict=False))]
    return values


def _pooled(encoder: "Encoder", image: "np.ndarray", size: tuple[int, int] | None) -> list[float]:
    import torch

    from tapetum.encoders.features import prepare

    how = encoder.preprocessing
    how = how if size is None else replace(how, size=size, resize="squash", crop_fraction=1.0, interpolation="bilinear")
    with torch.inference_mode():
        return encoder(prepare(image[None], how)).pooled[0].tolist()
