"""`tapetum weights suggest`: models for a task, with licence, memory and score, and which of them suits this machine.

Nothing is fetched. Scores are their authors' own. Models that are here are run once, to be timed.
"""

import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from tapetum.app.verb import Listener, Result, verb
from tapetum.bench.word_models import is_here
from tapetum.core.errors import TapetumError
from tapetum.hub.registry import find

TASKS = {
    "track": ("tapir-nano", "bootstapir", "tapir", "tapnextpp-256", "tapnextpp-512", "causal-tapir-nano"),
    "ask": (
        *("efficientnet-lite2", "smolvlm-500m", "smolvlm-256m", "smolvlm2-500m"),
        *("qwen3-vl-2b", "molmo2-4b", "paligemma2-3b-mix-224"),
    ),
    "segment": ("efficientnet-lite2", "sam2-tiny", "sam2-small", "sam2-base-plus", "sam2-large", "paligemma2-3b-mix-224"),
    "embed": ("resnet-nano", "dinov2-base", "dinov2-small", "efficientnet-lite2", "siglip2-base-16", "dinov2-large"),
}
"""Models of each task. The first is what its command uses by default; of the others, those named earlier are advised first."""
_ROOM = 1.3
"""GB of memory beyond which a model takes minutes an image on a processor without an accelerator."""


@dataclass(frozen=True)
class SuggestOptions:
    """Say which models do a task, and which of them suits this machine; nothing is fetched."""

    task: Annotated[tyro.conf.Positional[Literal["track", "ask", "segment", "embed"]], tyro.conf.arg(metavar="TASK")]
    """track, ask, segment or embed."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """A model for a task."""

    name: str
    here: bool
    size: str
    licence: str
    memory_gb: float | None
    score: str | None
    """What its authors published."""
    default: bool
    """The command uses it where none is named."""
    suits: bool
    """Of those beside the default, the one to take on this machine."""
    seconds: float | None = None
    """What a first small call took here, loading included: an image of 256x256, or 8 such frames with 16 points."""


@dataclass(frozen=True, kw_only=True)
class Suggestions(Result):
    """Models for a task."""

    task: str
    models: tuple[Suggestion, ...]

    def as_text(self) -> str:
        rows = [("", "name", "", "size", "licence", "memory", "seconds", "published score")]
        for each in self.models:
            mark = "default" if each.default else "suits" if each.suits else ""
            memory = "" if each.memory_gb is None else f"{each.memory_gb:.1f} GB"
            seconds = "" if each.seconds is None else f"{each.seconds:.1f}"
            place = "here" if each.here else "away"
            rows.append((mark, each.name, place, each.size, each.licence, memory, seconds, each.score or ""))
        widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, "", advice(self.task)])


def suggest_for(task: str, accelerator_gb: float | None = None) -> list[Suggestion]:
    """List the models of a task, the default first, and mark the one that suits a machine, without running any.

    Args:
        task: of `TASKS`.
        accelerator_gb: memory of its accelerator; None if it has none.
    """
    room = max(_ROOM, 0.8 * (accelerator_gb or 0.0))
    entries = [find(name) for name in TASKS[task]]
    fitting = [weights for weights in entries[1:] if (weights.memory or room) <= room and weights.gate is None]
    best = fitting[0].name if room == _ROOM else max(fitting, key=lambda weights: weights.memory or 0.0).name
    return [
        Suggestion(
            name=weights.name,
            here=is_here(weights.name),
            size=weights.size_text,
            licence=weights.licence,
            memory_gb=weights.memory,
            score=weights.score,
            default=weights is entries[0],
            suits=weights.name == best,
        )
        for weights in entries
    ]


def advice(task: str) -> str:
    """Say what a task uses here, and the command that brings what suits this machine better."""
    models = suggest_for(task, accelerator_gb())
    first, better = models[0], next(each for each in models if each.suits)
    uses = first.name if first.here else f"{first.name}, which is not here"
    return f"{task} uses {uses}; better: " + (f"--model {better.name}" if better.here else find(better.name).fetch_text)


@verb(SuggestOptions)
def suggest(options: SuggestOptions, listener: Listener) -> Suggestions:
    """List models for a task, with licence, memory and published score, and measure those that are on this machine."""
    models = []
    for done, each in enumerate(entries := suggest_for(options.task, accelerator_gb()), 1):
        models.append(Suggestion(**{**asdict(each), "seconds": _measured(options.task, each.name) if each.here else None}))
        listener.progress("measuring", done, len(entries))
    return Suggestions(task=options.task, models=tuple(models))


def accelerator_gb() -> float | None:
    """Read the memory of the largest accelerator; None if there is none."""
    import torch

    from tapetum.core.devices import devices_here

    kinds = [name for name in devices_here() if torch.device(name).type in ("cuda", "xpu")]
    sizes = [torch.get_device_module(torch.device(name).type).get_device_properties(name).total_memory for name in kinds]
    return max(sizes) / 1e9 if sizes else None


def _measured(task: str, name: str) -> float | None:
    """Time a first small call; None if the model lacks a package, or cannot do this."""
    import numpy as np

    from tapetum.app.see.ask import ask
    from tapetum.app.see.embed import embed
    from tapetum.app.see.segment import segment
    from tapetum.app.see.segment_clicks import segment_clicks
    from tapetum.app.track.track import track

    frames = np.random.default_rng(0).integers(0, 256, (8, 256, 256, 3), np.uint8)
    begun = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
            if task == "track":
                track(video=frames, grid=4, model=name)
            elif task == "ask":
                ask((frames[0],), "what is this?", model=name, tokens=8)
            elif task == "embed":
                embed((frames[0],), model=name)
            elif name.startswith("sam2"):
                segment_clicks(video=frames[:1], click=("0,128,128",), model=name, out=Path(folder) / "masks")
            else:
                segment((frames[0],), "dog", model=name)
    except TapetumError:
        return None
    return round(time.perf_counter() - begun, 2)
