"""`tapetum export`: a tracker as a file for onnxruntime or torch.export."""

from dataclasses import dataclass

from tapetum.app.export import ExportOptions, export
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Export(ExportOptions):
    """Export a tracker to ONNX (.onnx) or torch.export (.pt2), for fixed numbers of frames, points and pixels.

    Inputs are float32 images in -1..1, channels last, and queries (t, x, y) in pixels; docs/guides/export.md says the rest.
    A file holds both looks of a network that looks twice, and not the alignment of patches that the bundled ones end with
    (tapetum track --polish no leaves it out too).
    With --online two files are written, for the first frame and for every frame: NAME-start.onnx and NAME-step.onnx.
    """

    json: bool = False
    """Print a summary as JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            exported = export.run(self, listener)
        if self.json:
            print_json(exported.as_json())
            return
        for program in exported.programs:
            inputs = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in program.inputs.items())
            print(f"{program.file}: {inputs} -> {', '.join(program.outputs)}")
        if exported.left_out:
            print(f"not in it: {', '.join(exported.left_out)}; tapetum track --polish no gives the same tracks")
