"""`tapetum pretrain METHOD`: pre-trains an encoder on a folder of images; ends with curves and a page of neighbours."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.commands import Command, Group
from tapetum.app.learn.options import options
from tapetum.app.learn.recipes import RecipeOptions, recipe_command, recipe_options
from tapetum.app.verb import Listener, Result
from tapetum.core.plugins import is_reference, reference_label
from tapetum.core.provenance import guarding_data
from tapetum.systems.pretraining.methods import METHODS
from tapetum.systems.pretraining.recipes import RECIPES, Pretrained, PretrainRun
from tapetum.train.launch_config import Launch

if TYPE_CHECKING:
    import numpy as np

    from tapetum.encoders.features import Encoder
    from tapetum.systems.pretraining.data import ImageSource

CURVES, NEIGHBOURS = "curves.svg", "neighbours.html"
"""What a finished run has in its folder beside the encoder."""
_LOOKED_AT, _NEIGHBOURS, _TOGETHER = 2000, 8, 64


class PretrainedEncoder(Pretrained, Result):
    """Results of a finished run, with an image of its curves and a page of neighbours beside the encoder."""

    @property
    def curves(self) -> Path:
        """Path of an image of loss, deviation of the features, learning rate and so on over the steps."""
        return self.encoder.parent / CURVES

    @property
    def neighbours(self) -> Path:
        """Path of a page of images, each beside those that are most alike to the encoder."""
        return self.encoder.parent / NEIGHBOURS

    def as_json(self) -> dict[str, Any]:
        paths = {name: str(getattr(self, name)) for name in ("encoder", "curves", "neighbours")}
        return {**paths, "images": self.images, "damaged": list(self.damaged), "collapsed_at": self.collapsed_at}

    def as_text(self) -> str:
        run = self.encoder.parent
        lines = [
            f"encoder     {self.encoder}    tapetum embed photos/ --model {run} --out vectors.npz",
            f"curves      {self.curves}",
            f"neighbours  {self.neighbours}",
        ]
        if self.damaged:
            names = ", ".join(self.damaged[:3])
            lines.append(f"skipped     {len(self.damaged)} of {self.images:,} images could not be read: {names}")
        return "\n".join(lines)

    def failure(self) -> str | None:
        if self.collapsed_at is None:
            return None
        return f"the features collapsed at step {self.collapsed_at + 1}; try a lower --base-lr, in another folder"


@guarding_data
def pretrain(run: PretrainRun, launch: Launch, say: Callable[[str], None] = lambda text: None) -> PretrainedEncoder | None:
    """Pre-train in the folder `launch.out`; the same call resumes a stopped run. Under torchrun all processes call it.

    `say` receives remarks about the data and, before the first step, FLOPs and time. Returns None if `launch.minutes` or a
    signal ended the call before the run was done. Raises BadInput for errors the user can fix.
    """
    from tapetum.core.remote_cache import cache_of
    from tapetum.encoders.factory import load
    from tapetum.report.curves import write_curves
    from tapetum.systems.pretraining import run as runs
    from tapetum.systems.pretraining.sources import read_sources
    from tapetum.train.launch import is_main

    finished = runs.pretrain(run, launch, say)
    if finished is None:
        return None
    result = PretrainedEncoder(**vars(finished))
    if is_main():
        write_curves(launch.out / "log.jsonl", result.curves)
        show_neighbours(load(result.encoder), read_sources(run.data, cache=cache_of(launch.cache_gb)), result.neighbours)
    return result


def show_neighbours(encoder: "Encoder", source: "ImageSource", path: Path) -> Path:
    """Write a page of images, each beside its nearest neighbours under the encoder; uses up to 2,000 of many images."""
    import numpy as np

    from tapetum.app.see.embed import Embedded
    from tapetum.app.see.neighbours import nearest, write_page
    from tapetum.core.errors import BadInput

    images: list[np.ndarray] = []
    names: list[str] = []
    for k in np.unique(np.linspace(0, len(source) - 1, _LOOKED_AT).round().astype(int)).tolist():
        try:
            images.append(source.images[k])
        except BadInput:
            continue
        label = "" if source.labels is None else f"{source.classes[source.labels[k]]}, "
        names.append(label + source.images.name(k))
    vectors = np.concatenate([_vectors(encoder, images[k : k + _TOGETHER]) for k in range(0, len(images), _TOGETHER)])
    neighbours, cosines = nearest(vectors, names, _NEIGHBOURS)
    nothing = (None,) * len(names)
    made = Embedded(
        paths=tuple(names),
        start_s=nothing,
        stop_s=nothing,
        modalities=(("image",),) * len(names),
        vectors=vectors,
        files=len(names),
        failed=0,
        neighbours=neighbours,
        cosines=cosines,
    )
    return write_page(made, path, lambda k: images[k])


def _vectors(encoder: "Encoder", images: "list[np.ndarray]") -> "np.ndarray":
    import torch

    from tapetum.encoders.batching import look_by_size

    with torch.inference_mode():
        prepared = [encoder.prepare(image[None]) for image in images]
        return look_by_size(prepared, lambda batch: encoder(batch).pooled, encoder).float().cpu().numpy()


def _work(given: RecipeOptions, launch: Launch, listener: Listener) -> PretrainedEncoder | None:
    return pretrain(given.recipe, launch, listener.line)


_BF16 = {"bf16": tyro.conf.FlagConversionOff}


def _command(method: str) -> Command:
    """Build the command of one method: the common settings and its own."""
    hidden = ("method", "own", *(name for name in METHODS if name != method))
    recipe = options(RECIPES[method], by="preset", required=("data",), hidden=hidden, markers=_BF16)
    return recipe_command(
        method, recipe_options(METHODS[method].help, Annotated[PretrainRun, recipe]), _work, product="encoder"
    )


def _own_command(reference: str) -> Command | None:
    """Build the command of a user-defined method, if the word names one; its code is not run yet."""
    if not is_reference(reference, "method"):
        return None
    run = PretrainRun(method=reference, data=())
    recipe = options({"": run}, required=("data",), hidden=("method", "preset", *METHODS), markers=_BF16)
    help = f"Teach an encoder by your own method, {reference_label(reference)}; --own NAME=VALUE ... are its settings."
    return recipe_command(reference, recipe_options(help, Annotated[PretrainRun, recipe]), _work, product="encoder")


COMMANDS = Group(
    """Teach an encoder on a folder of images; the same command goes on where a run was stopped.

    What it costs is said before the first step. At the end there is an encoder for `tapetum embed --model RUN`, curves, and a
    page of images with those that are most alike. Under torchrun it runs on several processes.

    In place of a method's name, a class of your own may stand: my_method.py:MyMethod, package.module:MyMethod, or the entry
    point of a package.
    """,
    {method: _command(method) for method in METHODS},
    other=_own_command,
)
