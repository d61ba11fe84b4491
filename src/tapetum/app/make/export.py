"""`tapetum.export`: export of a tracker or an encoder for onnxruntime or torch.export."""

import re
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.core.provenance import check


@dataclass(frozen=True)
class ExportOptions:
    """Export a tracker or an encoder to ONNX (.onnx) or torch.export (.pt2), for fixed numbers of frames, points and pixels.

    Of a tracker, inputs are float32 images in -1..1, channels last, and queries (t, x, y) in pixels; docs/guides/export.md says
    the rest. A file holds both looks of a network that looks twice, and not the alignment of patches that the bundled ones end
    with (tapetum track --polish no leaves it out too). An encoder takes an image that it has prepared, 1x3xHEIGHTxWIDTH, and
    gives its vector and its tokens.
    --program live is for frames that come one by one and needs a causal model: one file for any number of points, as
    examples/live_cpp runs it; of TAPNext NAME-start.onnx for the first frame and NAME-step.onnx for every other.
    """

    model: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|FILE")]
    """Name of weights (see: tapetum weights list), or a file of weights."""
    out: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="FILE.onnx|FILE.pt2")]
    """File to write."""
    _: KW_ONLY
    size: Annotated[str, tyro.conf.arg(metavar="WIDTHxHEIGHT")] = ""
    """Size of the images in pixels; by default 256x256, of an encoder that of its images."""
    frames: Annotated[int, tyro.conf.arg(metavar="T")] = 24
    """Frames of a clip."""
    points: Annotated[int, tyro.conf.arg(metavar="N")] = 64
    """Points that are tracked together."""
    program: Literal["clip", "live"] = "clip"
    """live: for frames that come one by one."""


@dataclass(frozen=True, kw_only=True)
class ExportedProgram:
    """A file that another program runs."""

    file: Path
    inputs: dict[str, tuple[int | str, ...]]
    """Shape of each input, by name and in order; "n" for any number of points."""
    outputs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Exported(Result):
    """Files exported from a tracker."""

    left_out: tuple[str, ...] = ()
    """What `tapetum track` does with this model and these programs do not: "polish", the alignment of patches; of TAPNext the
    frames before that of a query; or nothing."""
    programs: tuple[ExportedProgram, ...]
    """One; of TAPNext for frames one by one that for the first and that for all others."""

    def as_text(self) -> str:
        lines = []
        for program in self.programs:
            inputs = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in program.inputs.items())
            lines.append(f"{program.file}: {inputs} -> {', '.join(program.outputs)}")
        if self.left_out:
            same = "; tapetum track --polish no gives the same tracks" if "polish" in self.left_out else ""
            lines.append(f"not in it: {', '.join(self.left_out)}{same}")
        return "\n".join(lines)


@verb(ExportOptions)
def export(options: ExportOptions, listener: Listener) -> Exported:
    """Export a tracker or an encoder to ONNX (.onnx) or torch.export (.pt2), with fixed numbers of frames, points and pixels.

    Raises BadInput for a size or a model that cannot be exported, MissingExtra where ONNX is not installed.

    >>> import tapetum
    >>> tapetum.export("tapir-nano", "tracker.onnx", size="256")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: --size is '256'; give width and height in pixels, as in 640x480
    """
    if not (sizes := re.fullmatch(r"(\d{1,5})x(\d{1,5})", options.size or "256x256")):
        raise BadInput(f"--size is {options.size!r}; give width and height in pixels, as in 640x480")
    width, height = (int(number) for number in sizes.groups())
    import tapetum
    from tapetum.encoders import Encoder
    from tapetum.systems.tap import export as tap
    from tapetum.systems.tapnext import export as tapnext
    from tapetum.systems.tapnext.tracker import TapNextTracker
    from tapetum.tracks.programs import export

    out, tracker = Path(options.out), tapetum.load(options.model)
    system: Any = tapnext if isinstance(tracker, TapNextTracker) else tap
    if isinstance(tracker, Encoder):
        programs = {out: _encoder_program(tracker, (height, width) if options.size else tracker.preprocessing.size)}
    elif not isinstance(tracker, (tap.TapirTracker, TapNextTracker)):
        raise BadInput(f"{options.model} is neither a tracker nor an encoder; give the name or the file of one")
    elif options.program == "live" and isinstance(tracker, tap.TapirTracker):
        programs = {out: tap.live_program(tracker, size=(height, width))}
    elif options.program == "live" and isinstance(tracker, TapNextTracker):
        start, step = tapnext.live_programs(tracker, size=(height, width), points=options.points)
        programs = {out.with_stem(f"{out.stem}-{part}"): p for part, p in (("start", start), ("step", step))}
    else:
        programs = {out: system.clip_program(tracker, frames=options.frames, size=(height, width), points=options.points)}
    for path in programs:
        check(path)
    for done, (path, program) in enumerate(programs.items()):
        listener.progress("exporting", done, len(programs))
        export(program, path)
    listener.progress("exporting", len(programs), len(programs))
    made = [
        ExportedProgram(
            file=path,
            inputs={k: ("n", *v.shape[1:]) if k in p.any_number else tuple(v.shape) for k, v in p.inputs.items()},
            outputs=tuple(p.outputs),
        )
        for path, p in programs.items()
    ]
    left_out = ("prepare",) if isinstance(tracker, Encoder) else system.left_out(tracker, live=options.program == "live")
    return Exported(programs=tuple(made), left_out=left_out)


def _encoder_program(encoder: Any, size: tuple[int, int]) -> Any:
    """Make the program of an encoder for one prepared image of (height, width)."""
    import torch

    from tapetum.tracks.programs import Program, Wrapped

    class Vectors(Wrapped):
        """An encoder's vector and tokens, without the rest of its features."""

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.model(images)
            return features.pooled, features.tokens

    return Program(Vectors(encoder), {"images": torch.zeros(1, 3, *size)}, ("pooled", "tokens"))
