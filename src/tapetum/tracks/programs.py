"""Export of point-tracking networks as programs for other runtimes: torch.export (.pt2) and ONNX (.onnx).

Each system makes its `Program`s (`tap.export`, `tapnext.export`); `export` writes any.
"""

import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.core.files import whole_file

OPSET = 20


class Wrapped(nn.Module):
    """A network with another `forward`, defined by subclasses."""

    def __init__(self, model: Any):
        super().__init__()
        self.model = model


@dataclass(frozen=True)
class Program:
    """A network to be exported, with example inputs of its sizes."""

    module: nn.Module
    inputs: dict[str, Tensor]
    outputs: tuple[str, ...]
    any_number: tuple[str, ...] = ()
    """Inputs that may have any number of rows, the same for all."""


def export(program: Program, path: str | os.PathLike[str]) -> Path:
    """Write a program, whole or not at all: ONNX to .onnx, torch.export to .pt2. Raises BadInput for another extension or a
    path that cannot be written, and MissingExtra without the packages onnx and onnxscript."""
    path = Path(path)
    if path.suffix not in (".onnx", ".pt2"):
        raise BadInput(f"{path} has the extension {path.suffix or '(none)'}; give .onnx, or .pt2 for torch.export")
    if path.suffix == ".onnx":
        for package in ("onnx", "onnxscript"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package, "export", "writing ONNX")
    with whole_file(path) as temporary, torch.no_grad(), _quiet():
        temporary.touch()  # a place that cannot be written is told before the work
        rows = {0: torch.export.Dim("rows", min=1)}
        shapes = tuple(rows if name in program.any_number else None for name in program.inputs)
        made = torch.export.export(program.module.eval(), tuple(program.inputs.values()), dynamic_shapes=shapes)
        if path.suffix == ".pt2":
            torch.export.save(made, memory := io.BytesIO())  # torch's own writer ends the process where a disk is full
            temporary.write_bytes(memory.getbuffer())
        else:
            onnx: Any = torch.onnx.export(
                made,
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=list(program.inputs),
                output_names=list(program.outputs),
            )
            onnx.save(temporary)
    return path


def check_sizes(model: nn.Module, frames: int, size: tuple[int, int], points: int) -> None:
    """Raise BadInput for sizes below 1, and for a network that is not in float32 on the CPU."""
    if min(frames, points, *size) < 1:
        raise BadInput(f"{frames} frames of {size[0]}x{size[1]} with {points} points; each must be 1 or more")
    weight = next(model.parameters())
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        raise BadInput(f"the network is {weight.dtype} on {weight.device}; export it in float32 on the cpu")


def spread_queries(size: tuple[int, int], points: int) -> Float[Tensor, "1 n 3"]:
    """Make queries (t, x, y) on frame 0, on the diagonal of an image of (height, width) `size`."""
    fraction = (torch.arange(points) + 0.5) / points
    return torch.stack([torch.zeros(points), fraction * size[1], fraction * size[0]], -1)[None]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' messages about packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
