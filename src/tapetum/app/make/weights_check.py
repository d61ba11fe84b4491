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
    values: tuple[dict[str, Any], ...]
    """What each is `of`, `published` and `computed`."""
    equal: bool | None
    """Whether all values are the published ones; None if none was compared."""

    def as_text(self) -> str:
        sums = f"{self.files} files are as they were fetched" if self.files else "no sums are known, for nothing was fetched"
        lines = [f"{self.path}: {sums}", f"{self.kind}, {self.parameters / 1e6:,.1f} M parameters"]
        lines += [f"{each['computed']:10.4f}  published {each['published']:10.4f}  {each['of']}" for each in self.values]
        return "\n".join(lines if self.values else [*lines, "no published value was compared"])

    def failure(self) -> str | None:
        if self.equal is not False:
            return None
        from tapetum.encoders.published import REFERENCE_VALUES

        tolerance = REFERENCE_VALUES[self.name].tolerance
        pairs = [(each["of"], each["computed"], each["published"]) for each in self.values]
        far = [f"{of} is {ours:.4f}, not {theirs:.4f}" for of, ours, theirs in pairs if abs(ours - theirs) > tolerance]
        return f"{self.name}: {'; '.join(far)}"


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
    expected, values, equal = REFERENCE_VALUES.get(entry.name if entry is not None else ""), [], None
    if expected is None and options.image is not None:
        raise BadInput(f"no published values of {options.name} on the photograph are known; leave --image out")
    if expected is not None and options.image is None:
        listener.line(f"published values are known: give --image with {PHOTOGRAPH}")
    elif expected is not None:
        values = _compare(network, expected, Path(str(options.image)))
        equal = all(abs(each["computed"] - each["published"]) <= expected.tolerance for each in values)
    return WeightsChecked(
        name=options.name,
        path=path,
        revision=read_record(path).get("revision"),
        files=files,
        kind=type(network).__name__,
        parameters=sum(each.numel() for each in parameters),
        values=tuple(values),
        equal=equal,
    )


def _compare(network: Any, expected: "ReferenceValues", path: Path) -> list[dict[str, Any]]:
    import torch

    from tapetum.encoders.features import prepare
    from tapetum.video.read import read_image

    image = read_image(path, str(path))
    names, published, computed = [*expected.texts], [*expected.logits], []
    if expected.texts:
        computed += network.logits([image], expected.texts)[0].tolist()
    if expected.pooled:
        how = network.preprocessing
        if expected.size is not None:
            how = replace(how, size=expected.size, resize="squash", crop_fraction=1.0, interpolation="bilinear")
        with torch.inference_mode():
            computed += network(prepare(image[None], how)).pooled[0].tolist()[: len(expected.pooled)]
        names += [f"pooled[{k}]" for k in range(len(expected.pooled))]
        published += expected.pooled
    rows = zip(names, published, computed, strict=True)
    return [{"of": of, "published": value, "computed": ours} for of, value, ours in rows]
