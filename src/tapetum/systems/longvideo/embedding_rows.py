"""Embeddings of long videos, saved to disk while they are computed, so that a killed `tapetum embed` can resume.

    OUT.unfinished         a line a piece (`tapetum.core.finished`), each there before the next is looked at
    OUT.unfinished.state   memories of the video that is being watched, now and then: the state of a stream (`save_state`)

Both are deleted when the table is written. A file that has changed, or is encoded by other weights, is processed again.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.core.finished import Rows
from tapetum.core.reading import no_pipe, parse_json
from tapetum.encoders.embed import EmbeddedPiece
from tapetum.systems.longvideo.memory import LayerMemory, StreamState
from tapetum.video.episodes import files_of_episode

if TYPE_CHECKING:
    from tapetum.systems.longvideo.streaming import VideoEmbedder


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


EVERY = 20.0
"""Seconds between two times that memories are kept."""


class Unfinished:
    """Pieces and memories of an unfinished table. `note` is called about existing pieces from another model."""

    def __init__(self, out: Path, embedder: "VideoEmbedder", note: Callable[[str], None] = lambda text: None):
        self.path, self.embedder = out.with_name(f"{out.name}.unfinished"), embedder
        self.state = out.with_name(f"{out.name}.unfinished.state")
        self.stopped = load_state(self.state, embedder.device)
        self.settings = {"weights": embedder.identity, "rate": embedder.frame_rate}
        self.rows = Rows(self.path, self.settings, note)

    def __enter__(self) -> "Unfinished":
        return self

    def __exit__(self, *_: object) -> None:
        self.rows.__exit__()

    def remove(self) -> None:
        """Remove both files, once the table is written."""
        for path in (self.path, self.state):
            with suppress(FileNotFoundError):
                path.unlink()

    def pieces(self, file: Path) -> Iterator[EmbeddedPiece]:
        """Yield the pieces of a file: the stored ones, then those still to be embedded."""
        files = files_of_episode(file) or [file]
        there = all(each.is_file() for each in files)  # what is not is refused by the embedder
        stamp = self.rows.stamp(video=files if len(files) > 1 else file) if there else None
        end = self.rows.get(f"{file} end", stamp)
        store = _FileStore(self, file, stamp)
        known = store.pieces if end is None else end["pieces"]
        for number in range(known):
            yield _piece(file, self.rows.get(f"{file} {number}", stamp) or {})
        if end is not None:
            return
        for piece in self.embedder.pieces(file, store):
            self.rows.add(f"{file} {store.pieces}", stamp, _row(piece))
            store.pieces += 1
            yield piece
        self.rows.add(f"{file} end", stamp, {"pieces": store.pieces})


class _FileStore:
    """Saves the stream of one file."""

    def __init__(self, unfinished: Unfinished, file: Path, stamp: Any):
        self.unfinished, self.last = unfinished, time.monotonic()
        self.about = [str(file), stamp, unfinished.settings]
        stopped = unfinished.stopped
        self.stopped: SavedStream | None = None
        self.pieces = 0
        if stopped is None or stopped.about[:3] != self.about:
            return
        if all(unfinished.rows.get(f"{file} {k}", stamp) is not None for k in range(stopped.about[3])):
            self.stopped, self.pieces = stopped, stopped.about[3]

    def load(self) -> SavedStream | None:
        """Load the saved stream of this file."""
        return self.stopped

    def save(self, frames: int, state: StreamState) -> None:
        """Save the stream, if it is time."""
        if time.monotonic() - self.last >= EVERY:
            save_state(self.unfinished.state, frames, state, [*self.about, self.pieces])
            self.last = time.monotonic()


def _row(piece: EmbeddedPiece) -> dict[str, Any]:
    [(name, vector)] = piece.inputs.items()
    text = base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode()
    return {"start": piece.start, "stop": piece.stop, "of": name, "vector": text}


def _piece(file: Path, row: dict[str, Any]) -> EmbeddedPiece:
    vector = torch.from_numpy(np.frombuffer(base64.b64decode(row["vector"]), "<f4").copy())
    return EmbeddedPiece(str(file), row["start"], row["stop"], {row["of"]: vector})
