"""`tapetum weights check`: whether fetched weights are intact, load, and reproduce the published values."""

from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.encoders.published import ReferenceValues


@dataclass(frozen=True)
class WeightsCheckOptions:
    """Check weights that were fetched: the SHA-256 of each file, that they load, and published values where there are some.

    The values are of one photograph of COCO, which is not fetched: give it with --image.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|OWNER/NAME")]
    """Name of the weights."""
    _: KW_ONLY
    image: Annotated[File | None, tyro.conf.arg(metavar="FILE")] = None
    """The photograph: http://images.cocodataset.org/val2017/000000039769.jpg."""


@dataclass(frozen=True)
class ComparedValue:
    """A published value and ours."""

    of: str
    published: float
    computed: float

    def is_within(self, tolerance: float) -> bool:
        """Compare the two."""
        return abs(self.computed - self.published) <= tolerance


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
    values: tuple[ComparedValue, ...]
    equal: bool | None
    """Whether all values are the published ones; None if none was compared."""

    def as_text(self) -> str:
        sums = f"{self.files} files are as they were fetched" if self.files else "no sums are known, for nothing was fetched"
        lines = [f"{self.path}: {sums}", f"{self.kind}, {self.parameters / 1e6:,.1f} M parameters"]
        lines += [f"{value.computed:10.4f}  published {value.published:10.4f}  {value.of}" for value in self.values]
        return "\n".join(lines if self.values else [*lines, "no published value was compared"])

    def failure(self) -> str | None:
        if self.equal is not False:
            return None
        from tapetum.encoders.published import REFERENCE_VALUES

        far = [value for value in self.values if not value.is_within(REFERENCE_VALUES[self.name].tolerance)]
        return f"{self.name}: {'; '.join(f'{v.of} is {v.computed:.4f}, not {v.published:.4f}' for v in far)}"


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
    values: tuple[ComparedValue, ...] = ()
    if expected is None and options.image is not None:
        raise BadInput(f"no published values of {options.name} on the photograph are known; leave --image out")
    if expected is not None and options.image is None:
        listener.line(f"published values are known: give --image with {PHOTOGRAPH}")
    elif expected is not None:
        values = _compare(network, expected, Path(str(options.image)))
    return WeightsChecked(
        name=options.name,
        path=path,
        revision=read_record(path).get("revision"),
        files=files,
        kind=type(network).__name__,
        parameters=sum(each.numel() for each in parameters),
        values=values,
        equal=all(value.is_within(expected.tolerance) for value in values) if expected and values else None,
    )


def _compare(network: Any, expected: "ReferenceValues", path: Path) -> tuple[ComparedValue, ...]:
    import torch

    from tapetum.encoders.features import prepare
    from tapetum.video.read import read_image

    image = read_image(path, str(path))
    values = []
    if expected.texts:
        values += zip(expected.texts, expected.logits, network.logits([image], expected.texts)[0].tolist(), strict=True)
    if expected.pooled:
        how = network.preprocessing
        if expected.size is not None:
            how = replace(how, size=expected.size, resize="squash", crop_fraction=1.0, interpolation="bilinear")
        with torch.inference_mode():
            pooled = network(prepare(image[None], how)).pooled[0].tolist()
        values += [(f"pooled[{k}]", value, pooled[k]) for k, value in enumerate(expected.pooled)]
    return tuple(ComparedValue(*each) for each in values)
