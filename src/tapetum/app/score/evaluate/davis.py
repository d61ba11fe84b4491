"""`tapetum.evaluate_davis`: evaluates mask propagation by an encoder's features on DAVIS."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, Listener, Result, narrowed, verb
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.core.provenance import check
from tapetum.transfer.config import PropagationConfig

if TYPE_CHECKING:
    from tapetum.metrics.masks import DavisScores

_OWN = PropagationConfig()


@dataclass(frozen=True, kw_only=True)
class DavisOptions:
    """Score features, or predicted masks, on DAVIS: the first mask is given, those that follow are found by features alone.

    Nothing is trained. Numbers are those of the official evaluation of 2017, semi-supervised, from 0 to 1.
    """

    data: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """DAVIS's folder, with JPEGImages, Annotations and ImageSets."""
    model: Annotated[str | None, tyro.conf.arg(metavar="NAME|FILE|RUN|colours")] = None
    """Whose features follow: an encoder by name or file, the folder of a run of tapetum train odin, or colours, rgb, xy."""
    predictions: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Score these masks instead, in the official layout: NAME/00001.png and so on."""
    save_predictions: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Write the masks that were found, in the official layout."""
    split: Literal["train", "val"] = "val"
    """Which videos."""
    year: Literal[2016, 2017] = 2017
    """2017 tells objects apart, 2016 has one a video."""
    resolution: str = "480p"
    """Name of the folder of frames and masks."""
    stride: int = 8
    """Pixels to a cell of the map that is used, where the network has several."""
    short_side: int = _OWN.short_side
    """Pixels of the shorter side of the frames that the network sees."""
    context: int = _OWN.context
    """Frames that are looked back at, beside the first."""
    radius: int = _OWN.radius
    """Cells that a thing may move from them."""
    neighbours: int = _OWN.neighbours
    """Cells that vote on what a cell is."""
    temperature: float = _OWN.temperature
    """They count exp(cosine / temperature)."""
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """The first so many videos only."""
    device: Device = "auto"

    def check(self) -> None:
        if (self.model is None) == (self.predictions is None):
            raise BadInput(
                "give --model, whose features follow objects, or --predictions with masks to be scored: one of the two"
            )
        if self.predictions is not None and self.save_predictions is not None:
            raise BadInput("--save-predictions is for a model, and --predictions is there already; give one of the two")
        check_options(self, stride="[1, inf)", most="[1, inf)")


@dataclass(frozen=True, kw_only=True)
class DavisResult(Result):
    """Scores on DAVIS, from 0 to 1."""

    model: str | None
    """What followed; None for predictions."""
    j_and_f: float
    """Mean of J and F, by which DAVIS ranks."""
    scores: "DavisScores"
    settings: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        about = {"benchmark": "davis", "model": self.model, "j_and_f": self.j_and_f}
        sides = {"j": asdict(self.scores.j), "f": asdict(self.scores.f)}
        return about | sides | {"objects": self._objects(), "settings": self.settings}

    def _objects(self) -> list[dict[str, Any]]:
        keyed: dict[Any, Any] = dict(self.scores.objects)
        return [{"video": name, "object": number, "j": j.mean, "f": f.mean} for (name, number), (j, f) in keyed.items()]

    def as_text(self) -> str:
        rows = [(f"{row['video']} {row['object']}", row["j"], row["f"]) for row in self._objects()]
        width = max(len("object"), *(len(name) for name, _, _ in rows))
        lines = [f"{'object':{width}}      J      F", *(f"{name:{width}}  {j:5.3f}  {f:5.3f}" for name, j, f in rows), ""]
        for name, part in (("J", self.scores.j), ("F", self.scores.f)):
            lines.append(f"{name}    mean {part.mean:.3f}, recall {part.recall:.3f}, decay {part.decay:.3f}")
        return "\n".join([*lines, f"J&F  {self.j_and_f:.3f}"])


@verb(DavisOptions, data=("data", "predictions"))
def evaluate_davis(options: DavisOptions, listener: Listener) -> DavisResult:
    """Score features, or predicted masks, on semi-supervised DAVIS: features alone propagate the first masks.

    Raises BadInput for missing or damaged files, and for a model that is not an image encoder.
    """
    options.check()
    from tapetum.bench.davis import evaluate, propagate, read_predictions, write_predictions
    from tapetum.bench.image_jobs import image_features_of
    from tapetum.data.segmentation import MaskedVideo, read_davis, scored_frames

    config = narrowed(PropagationConfig, options)
    videos = read_davis(Path(options.data), options.split, options.year, options.resolution)[: options.most]
    if options.predictions is not None:
        folder, settings = Path(options.predictions), {}
        scores = evaluate(videos, lambda video: read_predictions(folder, video), listener.counting("videos"))
    else:
        if options.save_predictions is not None:  # what is in the way is said before hours of work
            for video in videos:
                for path in video.masks:
                    check(Path(options.save_predictions) / video.name / path.name)
        settings = {**asdict(config), "stride": options.stride}
        look = image_features_of(str(options.model), config.short_side, options.stride, options.device)

        def masks_of(video: MaskedVideo) -> Any:
            ids = propagate(video, look, config)
            if options.save_predictions is not None:
                write_predictions(Path(options.save_predictions), video, ids)
            return ids[scored_frames]

        scores = evaluate(videos, masks_of, listener.counting("videos"))
    return DavisResult(model=options.model, j_and_f=scores.j_and_f, scores=scores, settings=settings)
