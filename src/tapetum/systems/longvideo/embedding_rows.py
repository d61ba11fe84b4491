"""Embeddings of long videos, saved to disk while they are computed, so that a killed `tapetum embed` can resume.

    OUT.unfinished         a line a piece (`tapetum.core.finished`), each there before the next is looked at
    OUT.unfinished.state   memories of the video that is being watched, now and then

Both are deleted when the table is written. A file that has changed, or is encoded by other weights, is processed again.
"""

import base64
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tapetum.core.finished import Rows
from tapetum.encoders.embed import EmbeddedPiece
from tapetum.systems.longvideo.stream_files import SavedStream, load_state, save_state
from tapetum.video.episodes import files_of_episode

if TYPE_CHECKING:
    from tapetum.systems.longvideo.memory import StreamState
    from tapetum.systems.longvideo.streaming import VideoEmbedder

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

    def save(self, frames: int, state: "StreamState") -> None:
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
