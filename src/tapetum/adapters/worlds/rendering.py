"""How MuJoCo's pictures are made on this machine: which OpenGL, quickly, and upright."""

import os
import sys
from importlib import metadata
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tapetum.errors import BadInput, MissingExtra, TapetumError

LEAST, BEYOND = (3, 3, 0), (3, 9, 0)
"""Versions of MuJoCo with which the simulators work: from the first on, before the second."""


def choose_gl() -> str:
    """Choose how MuJoCo draws without a screen, unless MUJOCO_GL says; give its name.

    EGL where there is a GPU of NVIDIA, else OSMesa, which draws on the processor; on macOS and Windows what they have. It
    counts only if MuJoCo was not imported before.
    """
    if "MUJOCO_GL" not in os.environ and sys.platform == "linux":
        os.environ["MUJOCO_GL"] = "egl" if os.path.exists("/dev/nvidiactl") else "osmesa"
    return os.environ.get("MUJOCO_GL", "the system's")


def simulator(package: str) -> Any:
    """Import a package of the extra `[robot]`, with the OpenGL chosen.

    Raises MissingExtra where it is not there, and BadInput where MuJoCo is too old or too new for it.
    """
    choose_gl()
    try:
        found = metadata.version("mujoco")
        numbers = tuple(int(part) for part in found.split(".")[:3])
        if not LEAST <= numbers < BEYOND:
            raise BadInput(
                f"MuJoCo {found} is installed, and the simulators work with 3.3.0 to 3.8: pip install 'tapetum[robot]' in an "
                "environment of its own"
            )
        return __import__(package)
    except (ImportError, metadata.PackageNotFoundError) as error:
        if isinstance(error, ImportError) and not isinstance(error, ModuleNotFoundError):
            raise TapetumError(
                f"{package} cannot draw with {choose_gl()} ({' '.join(str(error).split())[:80]}); install libosmesa6 or "
                "libegl1, or set MUJOCO_GL"
            ) from error
        raise MissingExtra(package, "robot", "simulating robots") from None


class Camera:
    """Draws a MuJoCo scene from one place, quickly: without shadows, reflections and smoothed edges.

    Those cost more than ten times as much as all else where the processor draws.
    """

    def __init__(self, model: Any, pixels: int, view: Any, *, beautiful: bool = False):
        """`view` is an `mjvCamera`, or the name of a camera of the model; `beautiful` draws with everything."""
        mujoco = simulator("mujoco")
        if not beautiful:
            model.vis.quality.shadowsize = 0
            model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, pixels)
        model.vis.global_.offheight = max(model.vis.global_.offheight, pixels)
        try:
            self._renderer = mujoco.Renderer(model, pixels, pixels)
        except Exception as error:  # whatever the driver does
            raise TapetumError(
                f"MuJoCo cannot draw with {choose_gl()} ({' '.join(str(error).split())[:80]}); install libosmesa6 or libegl1, "
                "or set MUJOCO_GL to egl, osmesa or glfw"
            ) from error
        if not beautiful:
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                self._renderer.scene.flags[flag] = 0
        self._view = view

    def picture(self, data: Any) -> UInt8[np.ndarray, "h w 3"]:
        """Draw a state."""
        self._renderer.update_scene(data, self._view)
        return self._renderer.render().copy()

    def close(self) -> None:
        """Give the renderer back."""
        self._renderer.close()


def looking_at(point: tuple[float, float, float], distance: float, azimuth: float, elevation: float) -> Any:
    """Make a camera that looks at a point (metres), upright by construction; angles in degrees, elevation -90 from above."""
    mujoco = simulator("mujoco")
    view = mujoco.MjvCamera()
    view.type = mujoco.mjtCamera.mjCAMERA_FREE
    view.lookat[:], view.distance, view.azimuth, view.elevation = point, distance, azimuth, elevation
    return view
