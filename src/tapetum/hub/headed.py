"""Our files: safetensors whose header describes the tensors as JSON, under a key of the system; and networks built from them.

A config in a weights file may request 10^9 layers; each is built even if its values use no memory. So a network's blueprint,
the names and shapes of its tensors, is built first, and stops as soon as there are more tensors than the file has.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook, register_module_parameter_registration_hook

from tapetum.core.errors import BadInput
from tapetum.core.fields import LARGEST_SIZE, check_sizes
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, parse_json
from tapetum.hub.state_dicts import check_numbers, write_finite


@contextmanager
def blueprint(config: Any, tensors: int, place: str | Path) -> Iterator[None]:
    """Build the networks of the block without values (on the device "meta"), from a `config` read from a file.

    Args:
        config: the file's content, as stored or as a dataclass; its numbers are checked first.
        tensors: how many the file has.
        place: the file, for messages.

    Raises:
        BadInput: a number is out of bounds, or the network has more parts than the file could fill.
    """
    check_sizes(config, f" in the config of {place}", LARGEST_SIZE)
    left, here = 10 * tensors + 2000, threading.get_ident()  # parts without tensors, and tensors that are shared, count too

    def count(*_: Any) -> None:
        nonlocal left
        if threading.get_ident() == here:
            left -= 1
            if left < 0:
                raise BadInput(f"the config in {place} asks for more parts than its {tensors} tensors could fill; get it again")

    hooks = [register_module_module_registration_hook(count), register_module_parameter_registration_hook(count)]
    try:
        with torch.device("meta"):
            yield
    except (RuntimeError, OverflowError, MemoryError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadInput(f"the config in {place} is of no network that can be built ({reason}); get it again") from error
    finally:
        for hook in hooks:
            hook.remove()


def save_headed(
    model: nn.Module,
    path: str | os.PathLike[str],
    key: str,
    about: Any,
    dtype: torch.dtype | None = None,
    more: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model's tensors (rounded to `dtype`) and `more`, with `about` as JSON under `key` in the header; or nothing."""
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    with whole_file(Path(path)) as temporary:
        write_finite({**tensors, **(more or {})}, {key: json.dumps(about)}, temporary)


def read_headed(path: Path, key: str, what: str) -> tuple[Any, dict[str, Tensor]]:
    """Read the entry under `key` in the header of a file, and the tensors. Raises BadInput if the file has no `what`."""
    try:
        with safe_open(no_pipe(path), "pt") as file:
            text = (file.metadata() or {}).get(key)
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is no file of weights ({str(error)[:100]}); give one with {what}") from error
    if text is None:
        raise BadInput(f"{path} holds no {what}; give a file that does")
    try:
        about = parse_json(text)
    except ValueError as error:
        raise BadInput(f"the header of {path} cannot be read ({str(error)[:100]}); save it again") from error
    check_sizes(about, f" in the config of {path}", LARGEST_SIZE)
    return about, tensors


def load_headed(path: Path, key: str, what: str, maker: Callable[[Any], Callable[[], nn.Module]]) -> nn.Module:
    """Load the model of a file that `save_headed` wrote, in evaluation mode.

    Args:
        path: of the file.
        key: of its entry in the header.
        what: what the file should hold, for the message.
        maker: returns, for this entry, a function that makes the model with any weights.

    Raises:
        BadInput: the file has no such entry, it cannot be read, or the tensors do not match it.
    """
    about, tensors = read_headed(path, key, what)
    try:
        with blueprint(about, len(tensors), path):
            make = maker(about)
            expected = make().state_dict()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"the config in {path} cannot be read ({str(error)[:100]}); train it again") from error
    check_fit(expected, tensors, path)
    model = make()
    model.load_state_dict(tensors)
    return model.eval()


def check_fit(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise BadInput, naming the tensor, if one is missing, unknown, of another shape or kind, or not finite.

    `expected` may be without values (on the meta device).
    """
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors or name not in expected or tensors[name].shape != expected[name].shape:
            raise BadInput(f"the tensor {name!r} in {path} does not fit its config; save it again")
        check_numbers(name, tensors[name], expected[name], f" in {path}")
