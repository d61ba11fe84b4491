"""Reading tensors from large files directly into their destination: piece by piece, never the file or a tensor twice.

For safetensors (https://github.com/huggingface/safetensors): 8 bytes of length, a JSON header with the dtype, shape and offset
of each tensor, the data. `safe_open` maps the file into memory, whose pages count towards the process until it is closed; here
data passes through a small buffer, or is read directly if no conversion is needed.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from tapetum.core.errors import BadInput
from tapetum.core.reading import open_file, parse_json

KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Kinds of numbers that weights have, by their names in safetensors."""
_LONGEST_HEADER = 100 << 20
_BUFFER = 8 << 20
"""Bytes that are converted at a time."""


class TensorFile:
    """A safetensors file of real numbers with a valid header. Raises BadInput, naming the file, otherwise."""

    def __init__(self, path: Path, eight_bits: bool = False):
        """With `eight_bits`, byte tensors count as numbers too; such files do not say what a byte stands for."""
        self.path = path
        self._kinds = KINDS | ({"I8": torch.int8} if eight_bits else {})
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._places: dict[str, tuple[torch.dtype, int]] = {}
        try:
            with open_file(path) as file:
                self._read_header(file)
        except OSError as error:
            raise BadInput(f"{path} cannot be read ({error.strerror or error}); give a file of weights") from error

    def _read_header(self, file: IO[bytes]) -> None:
        size = self.path.stat().st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            raise BadInput(f"{self.path} is not a safetensors file; get it again")
        try:
            header = parse_json(file.read(length))
            entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
            places = {name: (entry["dtype"], entry["shape"], *entry["data_offsets"]) for name, entry in entries.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BadInput(f"the header of {self.path} cannot be read ({str(error)[:80]}); get it again") from error
        for name, (kind, shape, begin, end) in places.items():
            if kind not in self._kinds:
                raise BadInput(f"{name} in {self.path} is of kind {str(kind)[:20]!r}; weights are {', '.join(self._kinds)}")
            if not all(type(side) is int and side >= 0 for side in [*shape, begin, end]):
                raise BadInput(f"{name} in {self.path} has no proper shape or place; get the file again")
            if end - begin != math.prod(shape) * self._kinds[kind].itemsize:
                raise BadInput(f"{name} in {self.path} has not the bytes that its shape {tuple(shape)} wants; get it again")
            if 8 + length + end > size:
                raise BadInput(f"{self.path} ends before {name} does: a part of it is missing; get it again")
            self.shapes[name] = tuple(shape)
            self._places[name] = self._kinds[kind], 8 + length + begin

    def read(self, name: str, target: Tensor) -> None:
        """Read the first numbers of a tensor, as many as the target has, converted to its dtype.

        The target is contiguous, on any device. Raises BadInput if a number is not finite, or the file has changed.
        """
        kind, place = self._places[name]
        try:
            with open_file(self.path) as file:
                file.seek(place)
                read_into(file, kind, target, name, self.path)
        except OSError as error:
            raise BadInput(f"{self.path} cannot be read ({error.strerror or error}); get it again") from error


def read_into(file: IO[bytes], kind: torch.dtype, target: Tensor, name: str, path: Path) -> None:
    """Read numbers of a dtype from an open file into a contiguous tensor; raises BadInput, naming both, if that fails."""
    for part in _parts(target.detach().view(-1), kind.itemsize):
        direct = part.dtype == kind and part.device.type == "cpu"
        buffer = part if direct else torch.empty(len(part), dtype=kind)
        bytes_ = buffer.view(torch.uint8).numpy().data
        have = 0
        while have < len(bytes_):
            count = file.readinto(bytes_[have:])  # type: ignore[attr-defined]
            if not count:
                raise BadInput(f"{path} ends within {name}: a part of it is missing; get it again")
            have += count
        if not all(bool(torch.isfinite(side)) for side in torch.aminmax(buffer)):
            raise BadInput(f"{name} in {path} holds something else than finite numbers; get it again")
        if not direct:
            part.copy_(buffer)


def _parts(flat: Tensor, itemsize: int) -> Iterator[Tensor]:
    return iter(flat.split(_BUFFER // itemsize)) if len(flat) else iter(())
