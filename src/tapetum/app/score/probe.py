"""Quality of an encoder's features on labelled images: nearest neighbours and a linear probe."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.commands import Device
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.core.fields import check_options
from tapetum.transfer.config import NeighboursConfig, ProbeConfig


@dataclass(frozen=True)
class ProbeOptions:
    """Score an encoder's features: nearest neighbours and a linear probe on labelled images.

    The encoder stays as it is. The probe tries the same settings for every encoder, chooses on a held-out tenth of what it
    learns from, and is scored once.
    """

    what: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN|MODEL")]
    """Folder of a run of tapetum pretrain, or any other encoder as tapetum embed --model takes it; random:resnet-18, random
    weights, is the control."""
    _: KW_ONLY
    data: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Labelled images: a folder a class, of which every fifth image is scored; train/CLASS/*.jpg and val/CLASS/*.jpg;
    CIFAR's binary files, parquet files or tar shards; or the address of one of these, which is copied to this machine."""
    neighbours: int = 20
    """Neighbours that vote."""
    most: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    """Look at so many images of each part at most, evenly chosen."""
    device: Device = "auto"
    cache: Annotated[File | None, tyro.conf.arg(metavar="DIR")] = None
    """Keep the features in this folder, and take them from there."""

    def check(self) -> None:
        check_options(self, neighbours="[1, inf)", most="[2, inf)")


@dataclass(frozen=True, kw_only=True)
class Probes(Result):
    """Scores of the probes."""

    neighbours: float
    """Share of the scored images whose neighbours vote for the right class."""
    linear: float
    decay: float
    """The setting of the linear probe that was best on a held-out tenth of what it learned from."""
    tried: tuple[tuple[float, float], ...]
    images: tuple[int, int]
    """How many were learned from, and scored."""
    classes: int

    def as_json(self) -> dict[str, Any]:
        return {
            "knn": self.neighbours,
            "linear": self.linear,
            "decay": self.decay,
            "tried": [{"decay": decay, "held_out": share} for decay, share in self.tried],
            "images": list(self.images),
            "classes": self.classes,
        }

    def as_text(self) -> str:
        learned, scored = self.images
        chosen = f"(decay {self.decay:g}, the best of {len(self.tried)} on a held-out tenth)"
        lines = [f"images    {learned:,} to learn from, {scored:,} scored, {self.classes} classes"]
        return "\n".join([*lines, f"neighbours  {self.neighbours:.4f}", f"linear      {self.linear:.4f}  {chosen}"])


@verb(ProbeOptions, data=("data",))
def probe(options: ProbeOptions, listener: Listener) -> Probes:
    """Probe an encoder. Raises BadInput for data without classes or without a split to score, and for other models."""
    options.check()
    import torch

    from tapetum.data.labelled import labelled_images
    from tapetum.encoders.references import load
    from tapetum.train.process_group import pick_device
    from tapetum.transfer.probes import knn_accuracy, linear_probe
    from tapetum.transfer.probing import Labelled, features_of

    data = Path(options.data)
    train, test = (labelled_images(data, split, options.most) for split in ("train", "val"))
    if train[2] != test[2]:
        raise BadInput(f"the parts of {data} have classes of their own: {len(train[2])} and {len(test[2])}; give both the same")
    neighbours = min(options.neighbours, len(train[1]))
    encoder = load(options.what, text=False).to(pick_device(options.device, 0))
    parts = []
    for task, (images, labels, _) in (("features to learn from", train), ("features to score", test)):
        kept = Path(options.cache) if options.cache else None
        features = features_of(encoder, images, kept=kept, tell=listener.counting(task))
        parts.append(Labelled(features, torch.from_numpy(labels)))
    training, scored = parts
    config = NeighboursConfig(neighbours=neighbours)
    voted = knn_accuracy(training.features, training.labels, scored.features, scored.labels, config)
    probed = linear_probe(training, scored, len(train[2]), ProbeConfig())
    return Probes(
        neighbours=voted,
        linear=probed.accuracy,
        decay=probed.chosen,
        tried=probed.tried,
        images=(len(training.labels), len(scored.labels)),
        classes=len(train[2]),
    )
