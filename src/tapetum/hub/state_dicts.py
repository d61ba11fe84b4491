"""State dicts of other libraries: names and tensors, from safetensors or torch pickles, without running their code.

`TensorFile` reads tensors from large files into their destination, one after the other.
"""

import json
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import _TYPES
from safetensors.torch import save as to_bytes
from torch import Tensor

from tapetum.core.errors import BadInput, TapetumError
from tapetum.core.reading import no_pipe, read_json

_WRAPPINGS = "state_dict", "model_state_dict", "model"
"""Under which training scripts keep the state dict, beside the optimiser's and other things."""
_PREFIXES = "_orig_mod.", "module.", "_orig_mod."
"""What torch's compile and DistributedDataParallel put before every name, in either order."""
FLOATS = torch.float16, torch.bfloat16, torch.float32, torch.float64
INDEX, SINGLE, PICKLED = "model.safetensors.index.json", "model.safetensors", "pytorch_model.bin"


def read_state(path: Path) -> dict[str, Tensor]:
    """Read names and tensors of a safetensors file or a torch pickle, on the CPU.

    A state dict may be in a dictionary under state_dict, model_state_dict or model; prefixes of DDP and compile are removed.
    Raises BadInput if the file cannot be read, or holds anything but tensors and plain containers.
    """
    if path.suffix == ".safetensors":
        with _opened(path) as file:
            return {_plain(name): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give a file of weights")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch speaks of the protocol, which is nothing that a user chose
            state = torch.load(no_pipe(path), map_location="cpu", weights_only=True)
    except Exception as error:  # a broken or hostile pickle can fail in any way, but runs nothing
        if own := re.search(r"GLOBAL ([\w.]{1,100}) was not an allowed", str(error)):
            raise BadInput(
                f"{path} is not a file of weights alone: it holds {own[1]}, and code that a pickle names is not run; where "
                "that class is at hand, save torch.save(model.state_dict(), FILE), and convert that: tapetum weights convert "
                "FILE.py:CLASS=FILE (timm:NAME=FILE for a model of timm)"
            ) from error
        raise BadInput(f"{path} is not a file of weights alone ({_first_line(error)}); get it again") from error
    for key in _WRAPPINGS:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise BadInput(f"{path} does not hold a state dict (names and tensors); give a file that does")
    for name, tensor in state.items():
        if tensor.layout == torch.strided and tensor.untyped_storage().nbytes() < tensor.numel() * tensor.itemsize:
            raise BadInput(f"{name} in {path} shows a number of its storage more than once; save the tensors contiguous")
    return {_plain(str(name)): tensor for name, tensor in state.items()}


def names_in(path: Path) -> set[str]:
    """List the names of the tensors in a file, as returned by `read_state`; for safetensors and .npz no tensor is read."""
    if path.suffix == ".npz":
        try:
            with zipfile.ZipFile(no_pipe(path)) as file:
                return {name.removesuffix(".npy") for name in file.namelist()}
        except (OSError, zipfile.BadZipFile) as error:
            raise BadInput(f"{path} is no archive of arrays ({_first_line(error)}); get it again") from error
    if path.suffix != ".safetensors":
        return set(read_state(path))
    with _opened(path) as file:
        return {_plain(name) for name in file.keys()}  # noqa: SIM118


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file, without running code. Raises BadInput for any other file."""
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give a file of weights")
    try:
        with np.load(no_pipe(path), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise BadInput(f"{path} is no archive of arrays ({str(error)[:100]}); get it again") from error


def finite_to_bytes(tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> bytes:
    """Convert tensors to the content of a safetensors file. Raises TapetumError, naming the tensor, if one is not finite."""
    _check_learned(tensors)
    return to_bytes(dict(tensors), dict(header))


def write_finite(tensors: Mapping[str, Tensor], header: Mapping[str, str], path: Path) -> None:
    """Write what `finite_to_bytes` makes to a file, one tensor after the other."""
    _check_learned(tensors)
    with path.open("wb") as file:
        file.writelines(safetensors_pieces(tensors, header))


def safetensors_pieces(
    tensors: Mapping[str, Tensor],
    header: Mapping[str, str] | None = None,
    gather: Callable[[Tensor], Tensor | None] = lambda tensor: tensor,
) -> Iterator[bytes | memoryview]:
    """Make a safetensors file in pieces: its header, then what `gather` makes of each tensor, empty where that is None."""
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # aligned, in the library's order
    entries: dict[str, Any] = {"__metadata__": dict(header)} if header else {}
    end = 0
    for name in names:
        tensor, begin = tensors[name], end
        end += tensor.numel() * tensor.element_size()
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        whole = gather(tensors[name].detach())
        yield b"" if whole is None else whole.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


_NAMES = {kind: name for name, kind in _TYPES.items()}


def _check_learned(tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise TapetumError(f"{name} is not finite, so no weights were saved; train again, with a lower learning rate")


def check_numbers(name: str, tensor: Tensor, expected: Tensor, where: str = "") -> None:
    """Raise BadInput, naming the tensor, unless it has the network's kind of numbers, all of them finite.

    Args:
        name: of the tensor.
        tensor: read from a file.
        expected: the network's, possibly without values: floats may be of 16 to 64 bits, integers of any size.
        where: for the message: " in FILE", or nothing.
    """
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.is_quantized or tensor.dtype == torch.bool)
    if tensor.layout != torch.strided or not (tensor.dtype in FLOATS if expected.is_floating_point() else whole):
        kind = str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")
        allowed = "float16, bfloat16, float32 or float64" if expected.is_floating_point() else "whole numbers"
        raise BadInput(f"the tensor {name!r}{where} is {kind}, and not {allowed}; get weights that are not quantised")
    if not torch.isfinite(tensor).all():
        raise BadInput(f"the tensor {name!r}{where} holds something else than finite numbers; get the file again")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise BadInput(f"there is no file {path}; give a file of weights")
    try:
        with safe_open(no_pipe(path), "pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is not a safetensors file ({_first_line(error)}); get it again") from error


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def read_folder(folder: Path) -> dict[str, Tensor]:
    """Read the state dict of a Hugging Face folder: model.safetensors, its shards, or pytorch_model.bin."""
    if (folder / PICKLED).is_file() and not any((folder / name).is_file() for name in (INDEX, SINGLE)):
        return read_state(folder / PICKLED)
    state: dict[str, Tensor] = {}
    for path in shards(folder):
        part = read_state(path)
        if twice := state.keys() & part.keys():
            raise BadInput(f"{min(twice)} is in {path} and in another file of {folder}; keep one of them")
        state |= part
    return state


def shards(folder: Path, single: str = SINGLE) -> list[Path]:
    """List the safetensors files of a folder, by its index if there are several. Raises BadInput if one is missing."""
    index = f"{single}.index.json"
    if not (folder / index).is_file():
        if not (folder / single).is_file():
            raise BadInput(f"{folder} has neither {single} nor {index}; give the folder of weights, as safetensors")
        return [folder / single]
    places = read_settings(folder / index).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise BadInput(f"{folder / index} has no weight_map; get it again")
    names = sorted(set(places.values()))
    for name in names:
        if Path(name).name != name or name in ("", ".", "..") or "\\" in name or "\0" in name:
            raise BadInput(f"{folder / index} names the file {name[:80]!r}, which is outside its folder; it is not read")
        if not (folder / name).is_file():
            raise BadInput(f"{folder} lacks {name}, one of {len(names)} files of its index; get that file too")
    return [folder / name for name in names]


def read_settings(path: Path) -> dict[str, Any]:
    """Read a JSON file of settings. Raises BadInput if it is missing."""
    if not path.is_file():
        raise BadInput(f"there is no {path}; give a folder of Hugging Face with its {path.name}")
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read ({str(error)[:100]}); get it again") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds no settings; get it again")
    return content


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
"""Kinds of numbers that weights have, by their names in safetensors."""
_BUFFER = 8 << 20
"""Bytes that are converted at a time."""


class TensorFile:
    """A safetensors file of real numbers, whose tensors are read one at a time. Raises BadInput, naming the file, otherwise."""

    def __init__(self, path: Path, eight_bits: bool = False, checked: bool = True):
        """With `eight_bits`, byte tensors count as numbers too; such files do not say what a byte stands for.

        Unless `checked`, tensors may be of any kind, and have infinite numbers, as in a checkpoint.
        """
        self.path, self._checked = path, checked
        kinds = KINDS | ({"I8": torch.int8} if eight_bits else {}) if checked else _TYPES
        self.shapes: dict[str, tuple[int, ...]] = {}
        with _opened(path) as file:
            for name in file.keys():  # noqa: SIM118
                about = file.get_slice(name)
                if (kind := about.get_dtype()) not in kinds:
                    raise BadInput(f"{name} in {path} is of kind {kind!r}; weights are {', '.join(kinds)}")
                self.shapes[name] = tuple(about.get_shape())

    def read(self, name: str, target: Tensor, first: int = 0) -> None:
        """Read rows of a tensor from the `first` on, as many as the target has, converted to its dtype.

        The target is on any device; nothing is read for one on "meta".
        Raises BadInput if a number is not finite, or the file has changed.
        """
        if target.is_meta:
            return
        with _opened(self.path) as file:  # whose pages count as this process's memory until it is closed
            rows = file.get_slice(name)[first : first + len(target)] if self.shapes[name] else file.get_tensor(name)
            if self._checked and rows.numel() and not all(bool(torch.isfinite(side)) for side in torch.aminmax(rows)):
                raise BadInput(f"{name} in {self.path} holds something else than finite numbers; get it again")
            target.detach().copy_(rows)


def read_into(file: IO[bytes], kind: torch.dtype, target: Tensor, name: str, path: Path) -> None:
    """Read numbers of a dtype from an open file into a contiguous tensor; raises BadInput, naming both, if that fails."""
    flat = target.detach().view(-1)
    for part in flat.split(_BUFFER // kind.itemsize) if len(flat) else ():
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
