"""Files of a stream's state, so that a killed encoding of a long video can resume."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, parse_json
from tapetum.systems.longvideo.memory import LayerMemory, StreamState


@dataclass(frozen=True)
class SavedStream:
    """A stream at the time when it was saved."""

    frames: int
    """Frames that were encoded."""
    state: StreamState
    about: Any
    """What `save_state` was given about it, as JSON values."""


class StreamStore(Protocol):
    """Saves a stream from time to time, and loads it to resume."""

    def load(self) -> SavedStream | None:
        """Load the saved stream; None to start from the beginning."""
        ...

    def save(self, frames: int, state: StreamState) -> None:
        """Save the state after `frames` frames, whose features the caller already has."""
        ...


def save_state(path: Path, frames: int, state: StreamState, about: Any) -> None:
    """Write a state atomically."""
    tensors: dict[str, Tensor] = {}
    for k, layer in enumerate(state.layers):
        tensors |= {f"{k}.rows": layer.rows, f"{k}.weights": layer.weights}
        if layer.projected is not None:
            tensors |= {f"{k}.key": layer.projected[0], f"{k}.value": layer.projected[1]}
    tensors |= {name: x for name in ("total", "count") if (x := getattr(state, name)) is not None}
    tensors |= {f"moments.{k}": x for k, x in enumerate(state.slot_means)}
    numbers = {"samples": state.samples, "frames": state.frames, "segment": state.segment, "slots": state.slots}
    header = {"seen": frames, "about": about, "layers": len(state.layers), "moments": len(state.slot_means)}
    header = {"stream": json.dumps({**header, **numbers, "origins": state.origins})}
    with whole_file(path) as temporary:
        save_file({name: x.detach().cpu().contiguous() for name, x in tensors.items()}, temporary, header)


def load_state(path: Path, device: torch.device | str = "cpu") -> SavedStream | None:
    """Read a file of `save_state`; None if it does not exist. Raises BadInput for any other file."""
    if not path.exists():
        return None
    try:
        with safe_open(no_pipe(path), "pt", device=str(device)) as file:
            header = parse_json((file.metadata() or {})["stream"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        layers = []
        for k in range(header["layers"]):
            projected = (tensors[f"{k}.key"], tensors[f"{k}.value"]) if f"{k}.key" in tensors else None
            layers.append(LayerMemory(tensors[f"{k}.rows"], tensors[f"{k}.weights"], projected))
        state = StreamState(
            samples=tuple(header["samples"]),
            frames=header["frames"],
            segment=header["segment"],
            slots=header["slots"],
            layers=tuple(layers),
            origins=tuple(header["origins"]),
            total=tensors.get("total"),
            count=tensors.get("count"),
            slot_means=tuple(tensors[f"moments.{k}"] for k in range(header["moments"])),
        )
        return SavedStream(int(header["seen"]), state, header["about"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{path} holds no state of a stream ({str(error)[:80]}); remove it, and begin again") from error
