"""Reading big_vision's .npz files layer by layer, so that arrays that stack all layers are never in memory as a whole."""

import ast
import math
import zipfile
from pathlib import Path
from types import TracebackType
from typing import IO

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe
from tapetum.encoders.tables.rows import NameRow
from tapetum.hub.state_dicts import read_into

_KINDS = {"<f4": torch.float32, "<f8": torch.float64, "<f2": torch.float16, "|V2": torch.bfloat16, "<V2": torch.bfloat16}
"""numpy has no bfloat16: it writes two bytes of no kind."""
_LONGEST_HEADER = 10_000


class NpzFile:
    """An archive of arrays of real numbers. Raises BadInput, naming the file, if it is not one."""

    def __init__(self, path: Path):
        self.path = path
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._kinds: dict[str, torch.dtype] = {}
        self._open: tuple[str, IO[bytes], int] | None = None
        try:
            self._archive = zipfile.ZipFile(no_pipe(path))
            for member in self._archive.infolist():
                if member.filename.endswith(".npy"):
                    name = member.filename.removesuffix(".npy")
                    with self._archive.open(member) as file:
                        kind, shape = self._header(name, file)
                    self._kinds[name], self.shapes[name] = kind, shape
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise BadInput(f"{path} is not a .npz archive ({str(error)[:80]}); get it again") from error

    def __enter__(self) -> "NpzFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._open is not None:
            self._open[1].close()
        self._archive.close()

    def _header(self, name: str, file: IO[bytes]) -> tuple[torch.dtype, tuple[int, ...]]:
        """Type and shape of an array, from the header of a .npy file, which is a Python dict of plain values."""
        start = file.read(8)
        wide = start[6:7] in (b"\x02", b"\x03")
        length = int.from_bytes(file.read(4 if wide else 2), "little")
        try:
            if start[:6] != b"\x93NUMPY" or length > _LONGEST_HEADER:
                raise ValueError("no header of an array")
            header = ast.literal_eval(file.read(length).decode("latin1"))
            kind, shape = _KINDS.get(header["descr"]), header["shape"]
            if header["fortran_order"] or not all(type(side) is int and side >= 0 for side in shape):
                raise ValueError("columns come first, or a side is no number")
        except (ValueError, TypeError, KeyError, SyntaxError, RecursionError, MemoryError) as error:
            raise BadInput(f"the array {name} in {self.path} cannot be read ({str(error)[:60]}); get it again") from error
        if kind is None:
            raise BadInput(f"the array {name} in {self.path} is of kind {str(header['descr'])[:20]}; weights are float")
        return kind, tuple(shape)

    def read(self, name: str, piece: NameRow, target: Tensor) -> None:
        """Read a piece of an array into our rows, in our order. Consecutive pieces cost one pass.

        Raises BadInput if the archive is truncated or a number is not finite.
        """
        shape, kind = self.shapes[name], self._kinds[name]
        stack = shape[: len(piece.index)]
        place = 0
        for i, side in zip(piece.index, stack, strict=True):
            place = place * side + i
        begin = place * math.prod(piece.shape) * kind.itemsize
        try:
            file = self._at(name, begin)
            if piece.order:
                buffer = torch.empty(piece.shape, dtype=kind)
                read_into(file, kind, buffer, name, self.path)
                target.copy_(piece.arranged(buffer).reshape(target.shape))
            else:
                read_into(file, kind, target, name, self.path)
            self._open = name, file, begin + target.numel() * kind.itemsize
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise BadInput(f"{self.path} cannot be read ({str(error)[:80]}); get it again") from error

    def _at(self, name: str, begin: int) -> IO[bytes]:
        """Open the member `begin` bytes after its header; the open one is reused if it is not past that point."""
        if self._open is not None and self._open[0] == name and self._open[2] <= begin:
            file, at = self._open[1:]
        else:
            if self._open is not None:
                self._open[1].close()
            file, at = self._archive.open(f"{name}.npy"), 0
            self._header(name, file)
        while at < begin:
            skipped = len(file.read(min(begin - at, 1 << 20)))
            if not skipped:
                raise EOFError(f"{name} ends too early")
            at += skipped
        return file
