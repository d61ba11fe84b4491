"""MuJoCo rendering on this machine: choice of OpenGL, fast drawing, and upright cameras."""

import os
import subprocess
import sys
import warnings
from importlib import metadata, util
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tapetum.core.errors import BadInput, MissingExtra, Remark, TapetumError, install_line

LEAST, BEYOND = (3, 3, 0), (3, 9, 0)
"""Versions of MuJoCo with which the simulators work: from the first on, before the second."""


_PACKAGES = "install libosmesa6, or libegl1 with libgl1-mesa-dri (names of Debian and Ubuntu; they need no screen)"
_PROBE = """
import mujoco, os
model = mujoco.MjModel.from_xml_string("<mujoco/>")
renderer = mujoco.Renderer(model, 8, 8)
renderer.update_scene(mujoco.MjData(model))
renderer.render()
os._exit(0)
"""
"""Draws nothing; at the end the context is not closed, of which some drivers complain."""


def choose_gl() -> str:
    """Choose MuJoCo's OpenGL for drawing without a screen, unless MUJOCO_GL is set; returns and reports its name.

    On Linux this is the first of EGL and OSMesa that works, each tried in a separate process; on macOS and Windows the native
    one. It takes effect only if MuJoCo was not imported before.

    Raises TapetumError, which names the packages to install, if neither works.
    """
    if "MUJOCO_GL" not in os.environ and sys.platform == "linux":
        reasons: list[str] = []
        for name in ("egl", "osmesa"):
            reason = _refused(name)
            if reason is None:
                os.environ["MUJOCO_GL"] = name
                warnings.warn(f"MuJoCo draws with {name}; MUJOCO_GL=osmesa or egl chooses another", Remark, stacklevel=2)
                return name
            reasons.append(f"{name} ({reason})")
        raise TapetumError(f"MuJoCo cannot draw on this machine, neither with {' nor with '.join(reasons)}; {_PACKAGES}")
    return os.environ.get("MUJOCO_GL", "the system's")


def _refused(name: str) -> str | None:
    """Why MuJoCo cannot draw with an OpenGL; None if it can."""
    command = [sys.executable, "-c", _PROBE]
    try:
        tried = subprocess.run(
            command, env={**os.environ, "MUJOCO_GL": name}, capture_output=True, text=True, timeout=120, check=False
        )
    except subprocess.TimeoutExpired:
        return "no answer in two minutes"
    if not tried.returncode:
        return None
    lines = [line for line in tried.stderr.splitlines() if line.strip()]
    return " ".join(lines[-1].split())[:100] if lines else f"it ended with code {tried.returncode}"


def simulator(package: str) -> Any:
    """Import a package of the extra `[robot]`, with the OpenGL chosen.

    Raises MissingExtra if it is not installed, and BadInput if MuJoCo is too old or too new for it.
    """
    try:
        version = metadata.version("mujoco")
        numbers = tuple(int(part) for part in version.split(".")[:3])
        if not LEAST <= numbers < BEYOND:
            raise BadInput(
                f"MuJoCo {version} is installed, and the simulators work with 3.3.0 to 3.8: in an environment of its own, "
                f"{install_line('robot')}"
            )
        if util.find_spec(package) is None:
            raise ModuleNotFoundError(package)
        choose_gl()
        return __import__(package)
    except (ModuleNotFoundError, metadata.PackageNotFoundError):
        raise MissingExtra(package, "robot", "simulating robots") from None
    except TapetumError:
        raise
    except Exception as error:  # PyOpenGL without a library raises whatever it stumbles over
        raise _cannot_draw(package, error) from error


def _cannot_draw(package: str, error: Exception) -> TapetumError:
    reason = " ".join(str(error).split())[:80]
    return TapetumError(f"{package} cannot draw with {choose_gl()} ({reason}); {_PACKAGES}, or set MUJOCO_GL to egl or osmesa")


class SimulatorCamera:
    """Draws a MuJoCo scene from one camera, fast: without shadows, reflections and antialiasing.

    With CPU rendering those cost more than ten times as much as everything else.
    """

    def __init__(self, model: Any, pixels: int, view: Any):
        """`view` is an `mjvCamera`, or the name of a camera of the model."""
        mujoco = simulator("mujoco")
        model.vis.quality.shadowsize = model.vis.quality.offsamples = 0
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, pixels)
        model.vis.global_.offheight = max(model.vis.global_.offheight, pixels)
        try:
            self._renderer = mujoco.Renderer(model, pixels, pixels)
        except Exception as error:  # whatever the driver does
            raise _cannot_draw("MuJoCo", error) from error
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = 0
        self._view = view

    def render(self, data: Any) -> UInt8[np.ndarray, "h w 3"]:
        self._renderer.update_scene(data, self._view)
        return self._renderer.render().copy()

    def close(self) -> None:
        self._renderer.close()


def looking_at(point: tuple[float, float, float], distance: float, azimuth: float, elevation: float) -> Any:
    """Make a camera that looks at a point (metres), upright by construction; angles in degrees, elevation -90 from above."""
    mujoco = simulator("mujoco")
    view = mujoco.MjvCamera()
    view.type = mujoco.mjtCamera.mjCAMERA_FREE
    view.lookat[:], view.distance, view.azimuth, view.elevation = point, distance, azimuth, elevation
    return view


def dim(model: Any, shift: float) -> None:
    """Make all lights of a model weaker and yellower, with `shift` from 0 to 1."""
    tint = 1 - shift * np.array([0.35, 0.45, 0.7])
    for light in (model.vis.headlight.ambient, model.vis.headlight.diffuse, *model.light_diffuse):
        light *= tint
