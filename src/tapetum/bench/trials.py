"""The trials of `tapetum doctor`: each runs a small piece that others build on, and reports the result."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_MATMUL = 512
_LAYER = 512, 768, 3072
"""Rows, and widths before and after, of the layer that kernels are compared by."""
_MUCH = 1.15
_CHILD_S = 60
_STRIDED = """
import torch

x = torch.randn(32, 3, 224, 224).contiguous(memory_format=torch.channels_last)
y = torch.nn.functional.conv2d(x, torch.randn(32, 3, 1, 1, requires_grad=True), None, 2)
y.backward(torch.randn_like(y))
"""
"""Of torch 2.13 a segmentation fault, see `tapetum.layers.convolution`."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Trial of one thing, and its result."""

    name: str
    """What was done."""
    works: bool
    detail: str
    """What came of it; where it failed, why."""


def try_out(name: str, work: Callable[[], str]) -> Trial:
    """Run the work, which returns its result; an exception makes the trial a failure."""
    try:
        return Trial(name=name, works=True, detail=work())
    except Exception as error:  # whatever it is, it is what was asked for
        return Trial(name=name, works=False, detail=f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])


def trials_of(devices: Sequence[str], systems: bool) -> dict[str, Callable[[], str]]:
    """List the trials by name, including those of systems on every device if requested."""
    trials = {f"matrix product on {device}": partial(_multiply, device) for device in devices}
    trials |= {
        "linear layers": _linear,
        "strided 1x1 convolution": _strided,
        "video written and read": _video,
        "cache written": _cache,
        "bundled tracker": _track,
    }
    if systems:
        from tapetum.bench.system_trials import SYSTEMS, try_system

        trials |= {f"{name} on {device}": partial(try_system, name, device) for device in devices for name in SYSTEMS}
    return trials


def _multiply(name: str) -> str:
    """A product of known value: a matrix of ones times one of twos."""
    import torch

    ones = torch.ones(_MATMUL, _MATMUL, device=name)
    product = ones @ (2 * ones)  # the first one pays for what is set up
    begun = time.perf_counter()
    product = ones @ (2 * ones)
    _finish(product)
    seconds = time.perf_counter() - begun
    if not (product == 2.0 * _MATMUL).all():
        raise ArithmeticError(f"the product of ones and twos is {product[0, 0].item()}, not {2 * _MATMUL}")
    return f"{2 * _MATMUL**3 / seconds / 1e9:.0f} GFLOP/s with {_MATMUL} x {_MATMUL}"


def _finish(product: "torch.Tensor") -> None:
    product[0, 0].item()  # waits for the device


def _linear() -> str:
    """The speed of the kernel used by linear layers, compared with the other."""
    import torch

    from tapetum.layers import cpu

    rows, inward, outward = _LAYER
    layer, x = cpu.speed_up(torch.nn.Linear(inward, outward)), torch.randn(rows, inward)
    chosen = cpu.KERNEL
    speeds: dict[cpu.Kernel, float] = {}
    try:
        for kernel in ("onednn", "torch"):
            cpu.KERNEL = kernel
            with torch.no_grad():
                times = []
                for _ in range(5):
                    begun = time.perf_counter()
                    layer(x)
                    times.append(time.perf_counter() - begun)
            speeds[kernel] = 2e-9 * rows * inward * outward / min(times)
    finally:
        cpu.KERNEL = chosen
    other: cpu.Kernel = "torch" if chosen == "onednn" else "onednn"
    advice = f"; {cpu.VARIABLE}={other} may be faster here" if speeds[other] > _MUCH * speeds[chosen] else ""
    return f"{chosen}'s float32 products, {speeds[chosen]:.0f} GFLOP/s; {other}'s {speeds[other]:.0f}{advice}"


def _strided() -> str:
    """Whether torch's own kernel kills a process on this machine."""
    done = subprocess.run([sys.executable, "-c", _STRIDED], capture_output=True, text=True, timeout=_CHILD_S)
    if done.returncode < 0:
        return f"torch's own dies of {signal.Signals(-done.returncode).name} here; no network of tapetum asks for it"
    if done.returncode:
        raise ChildProcessError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "a process failed")
    return "torch's own lives"


def _video() -> str:
    import numpy as np

    from tapetum.video import open_video, write_video

    frames = np.zeros((4, 48, 64, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:] = 60 * number
    with tempfile.TemporaryDirectory() as folder:
        path = write_video(Path(folder) / "trial.mp4", frames, 10)
        with open_video(path) as video:
            read = np.stack([video[number] for number in range(len(frames))])
    off = int(np.abs(read.astype(int) - frames).max())
    if off > 10:
        raise ArithmeticError(f"levels are off by {off} of 255")
    return f"4 frames of 64 x 48, levels off by {off} of 255 at most"


def _cache() -> str:
    from tapetum.core.files import whole_file
    from tapetum.hub.registry import folder

    place = folder()
    missing = [above for above in (place, *place.parents) if not above.exists()]
    file = place / f".doctor.{os.getpid()}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        with whole_file(file, own=True) as temporary:
            temporary.write_bytes(b"x" * 4096)
        if file.stat().st_size != 4096:
            raise OSError("what was written is not what was read")
    finally:
        file.unlink(missing_ok=True)
        for made in missing:
            if made.is_dir() and not any(made.iterdir()):
                made.rmdir()
    return str(place)


def _track() -> str:
    """Points on a still image, which must stay in place."""
    import numpy as np

    from tapetum.systems.tap.tracking.tracker import load

    noise = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    image = noise.repeat(8, axis=0).repeat(8, axis=1)
    tracker = load("tapir-nano")
    begun = time.perf_counter()
    tracks = tracker.track(np.stack([image] * 3), np.array([[0, 40.5, 40.5], [0, 88.5, 72.5]], np.float32))
    seconds = time.perf_counter() - begun
    off = float(np.abs(tracks.xy - tracks.xy[:, :1]).max())
    if off > 2:
        raise ArithmeticError(f"points of a still image moved by {off:.1f} pixels")
    return f"tapir-nano: 2 points over 3 frames in {seconds:.1f} s, off by {off:.2f} pixels at most"
