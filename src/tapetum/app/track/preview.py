"""Preview of the frames drawn by `tapetum track --online`: a window, or a stream of JPEG images."""

import io
import os
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tapetum.core.errors import BadInput
from tapetum.core.provenance import check, record

if TYPE_CHECKING:
    import numpy as np

    from tapetum.app.track.live import Viewer

WINDOW = "window"


def preview(to: str | None, cleanup: ExitStack) -> "Viewer | None":
    """Open the preview of drawn frames: none, a window, or a stream of JPEG images into a file, a pipe, or "-" (stdout)."""
    if to is None:
        return None
    if to == WINDOW:
        return _window(cleanup)

    @cache
    def opened() -> BinaryIO:
        """The file, opened when its first frame arrives."""
        if to == "-":
            return sys.stdout.buffer
        try:
            if os.path.isfile(to):  # a pipe or a device is written into
                check(to)
            cleanup.callback(lambda: record(Path(to).parent, {Path(to).name: Path(to)}))
            return cleanup.enter_context(open(to, "wb"))
        except OSError as error:
            raise BadInput(f"cannot write the preview to {to} ({error.strerror}); give a file, - or {WINDOW}") from error

    def show(frame: "np.ndarray") -> bool:
        from PIL import Image

        data = io.BytesIO()
        Image.fromarray(frame).save(data, "JPEG", quality=80)
        file = opened()
        try:
            file.write(data.getvalue())
            file.flush()
        except BrokenPipeError:
            return False
        return True

    return show


def _window(cleanup: ExitStack) -> "Viewer":
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise BadInput("there is no display for a window; give --preview a file, or - and pipe it: ... | ffplay -")
    try:
        import tkinter

        root = tkinter.Tk()
    except Exception as error:  # a python without Tk, or a display that refuses
        raise BadInput(f"a window cannot be opened ({error}); give --preview a file, or - and pipe it") from error
    root.title("tapetum")
    label = tkinter.Label(root)
    label.pack()
    state = {"open": True}

    def close() -> None:
        state["open"] = False

    root.protocol("WM_DELETE_WINDOW", close)
    cleanup.callback(root.destroy)

    def show(frame: "np.ndarray") -> bool:
        height, width = frame.shape[:2]
        image = tkinter.PhotoImage(data=b"P6 %d %d 255 " % (width, height) + frame.tobytes(), format="PPM")
        label.configure(image=image)
        label.image = image  # type: ignore[attr-defined]  # Tk keeps no reference of its own
        root.update()
        return state["open"]

    return show
