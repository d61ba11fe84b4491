"""`tapetum export`: a tracker as a file for onnxruntime or torch.export."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tapetum.cli.output import print_json
from tapetum.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Export:
    """Export a tracker to ONNX (.onnx) or torch.export (.pt2), for fixed numbers of frames, points and pixels.

    Inputs are float32 pictures in -1..1, channels last, and queries (t, x, y) in pixels; docs/guides/export.md says the rest.
    With --online two files are written, for the first frame and for every frame: NAME-start.onnx and NAME-step.onnx.
    """

    model: tyro.conf.Positional[str]
    """Name of weights (see: tapetum weights list), or a file of weights."""
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE.onnx|FILE.pt2")]
    """File to write."""
    size: Annotated[str, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = "256x256"
    """Size of the pictures in pixels."""
    frames: Annotated[int, tyro.conf.arg(metavar="T")] = 24
    """Frames of a clip."""
    points: Annotated[int, tyro.conf.arg(metavar="N")] = 64
    """Points that are tracked together."""
    online: tyro.conf.FlagCreatePairsOff[bool] = False
    """Programs for frames that come one by one; needs a causal model."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if not (found := re.fullmatch(r"(\d{1,5})x(\d{1,5})", self.size)):
            raise BadInput(f"--size is {self.size!r}; give width and height in pixels, as in 640x480")
        width, height = (int(number) for number in found.groups())
        import tapetum
        from tapetum.tap.export import clip_program, export, online_programs

        tracker = tapetum.load(self.model)
        if self.online:
            start, step = online_programs(tracker, size=(height, width), points=self.points)
            programs = {self.out.with_stem(f"{self.out.stem}-{part}"): p for part, p in (("start", start), ("step", step))}
        else:
            programs = {self.out: clip_program(tracker, frames=self.frames, size=(height, width), points=self.points)}
        for path, program in programs.items():
            export(program, path)
        summary = [
            {
                "file": str(path),
                "inputs": {name: list(tensor.shape) for name, tensor in program.inputs.items()},
                "outputs": list(program.outputs),
            }
            for path, program in programs.items()
        ]
        if self.json:
            print_json({"programs": summary})
            return
        for entry in summary:
            inputs = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in entry["inputs"].items())
            print(f"{entry['file']}: {inputs} -> {', '.join(entry['outputs'])}")
