"""The trials of `tapetum doctor`: each runs a small piece that others build on, and reports the result.

Of every system, a tiny network with random weights must compute the same on a device as on the CPU.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


BUDGET_S = 2.0
"""Seconds within which a system's forward passes on a device are begun."""
_TIMES = 20
"""Passes are timed so often at most."""
_OFF = 0.01
"""Share of the largest number by which results may differ from the CPU's; a GPU multiplies in TF32, whose share is 0.001."""

Work = Callable[["torch.device"], "torch.Tensor"]
"""Computes something on a device."""


def _tapir() -> Work:
    import torch

    from tapetum.systems.tap.config import NANO
    from tapetum.systems.tap.model import Tapir
    from tapetum.systems.tap.second_pass import track_passes

    small = replace(NANO, initial_resolution=(64, 64), refine_at_least=(96, 96), channels=(16, 32, 32, 32), stem_channels=16)
    network = Tapir(replace(small, mixer_width=32, mixer_blocks=2)).eval()
    video, queries = torch.rand(1, 3, 64, 64, 3) * 2 - 1, torch.tensor([[[0.0, 20.5, 30.5], [1.0, 40.5, 10.5]]])
    return lambda device: track_passes(network.to(device), video.to(device), queries.to(device))[-1].occlusion


def _tapnext() -> Work:
    import torch

    from tapetum.systems.tapnext.config import TapNextConfig
    from tapetum.systems.tapnext.model import TapNext

    sizes: dict[str, Any] = {"width": 32, "depth": 2, "heads": 2, "mlp_width": 64, "lru_width": 24, "gated_mlp_width": 64}
    network = TapNext(TapNextConfig(image_size=(32, 32), video_size=(32, 32), gate_blocks=2, **sizes)).eval()
    video, queries = torch.rand(1, 3, 32, 32, 3) * 2 - 1, torch.tensor([[[0.0, 10.5, 20.5]]])
    return lambda device: network.to(device)(video.to(device), queries.to(device)).visible_logits


def _hip() -> Work:
    import torch

    from tapetum.systems.hip.config import HipConfig, Modality
    from tapetum.systems.hip.model import Hip

    sizes: dict[str, Any] = {"self_layers": (1, 1, 1), "self_heads": (2, 2, 2), "embedding": 8}
    network = Hip(
        HipConfig(groups=(4, 1, 4), latents=(4, 8, 4), channels=(16, 32, 16), **sizes), {"image": Modality((8, 8), 3)}
    )
    image = torch.rand(1, 64, 3)
    return lambda device: network.eval().to(device)({"image": image.to(device)}).latents[1]


def _paligemma() -> Work:
    import torch

    from tapetum.encoders.config import DecoderConfig
    from tapetum.systems.paligemma.config import PaliGemmaConfig, siglip
    from tapetum.systems.paligemma.model import PaliGemma

    vision = siglip(28, width=16, depth=1, heads=2, mlp_width=24, patch=7)
    words = DecoderConfig(width=16, depth=1, heads=2, key_value_heads=1, head_width=8, mlp_width=24, vocabulary=64)
    network = PaliGemma(PaliGemmaConfig(vision_encoder=vision, language=words, newline=5)).eval()
    pixels, prefix = torch.rand(1, 1, 3, 28, 28) * 2 - 1, torch.tensor([[2, 9, 5]])

    def generate(device: "torch.device") -> "torch.Tensor":
        network.to(device).generate_ids(pixels.to(device), prefix.to(device), 4)
        return network.start(pixels.to(device), prefix.to(device), 4).logits

    return generate


def _longvideo() -> Work:
    import torch

    from tapetum.systems import longvideo

    sizes: dict[str, Any] = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 48, "size": (16, 16), "tubelet": (2, 8, 8)}
    sizes |= {"stem": "patch", "stem_blocks": 0, "frames": 8, "segment_frames": 4, "memories": 3, "memory": "consolidated"}
    network, video = longvideo.build("mcvit-nano", **sizes), torch.rand(1, 8, 16, 16, 3) * 2 - 1
    return lambda device: network.to(device)(video.to(device)).pooled


def _pretraining() -> Work:
    import torch

    from tapetum.encoders import build
    from tapetum.train.contrastive import nt_xent

    network, views = build("resnet-18", stem_width=4, depths=(1, 1, 1, 1)), torch.rand(4, 3, 32, 32)

    def learn(device: "torch.device") -> "torch.Tensor":
        """The gradient of SimCLR's loss."""
        network.to(device).zero_grad()
        with torch.enable_grad():
            first, second = network(views.to(device)).pooled.chunk(2)
            nt_xent(first, second, 5.0).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])

    return learn


def _adapters() -> Work:
    import torch

    from tapetum.encoders import build
    from tapetum.systems.adapters.adapted import attach

    network = attach(build("vit-nano", width=32, heads=2, mlp_width=64, patch=4, image_size=(16, 16)), "middle-top")
    images = torch.rand(1, 3, 16, 16)
    return lambda device: network.to(device)(images.to(device)).pooled


def _odin() -> Work:
    import torch

    from tapetum.encoders import build
    from tapetum.systems.odin.model import Odin
    from tapetum.systems.odin.recipes import OdinConfig

    config = OdinConfig(pyramid_width=8, hidden_width=16, projection_width=8)
    network = Odin(config, build("resnet-18", stem_width=4, depths=(1, 1, 1, 1))).eval()
    images = torch.rand(1, 3, 64, 64)
    return lambda device: network.to(device).projected_map(network(images.to(device)))


def _localiser() -> Work:
    import torch

    from tapetum.systems.perception_test.localiser.config import LocaliserConfig
    from tapetum.systems.perception_test.localiser.model import Localiser

    network = Localiser(LocaliserConfig(length=32, width=16, heads=2, window=5, stem=1, levels=3), 5, 2).eval()
    features = torch.rand(1, 32, 5)
    return lambda device: network.to(device)(features.to(device))[0]


SYSTEMS: dict[str, Callable[[], Work]] = {
    "tapir": _tapir,
    "tapnext": _tapnext,
    "hip": _hip,
    "paligemma": _paligemma,
    "longvideo": _longvideo,
    "pretraining": _pretraining,
    "adapters": _adapters,
    "odin": _odin,
    "perception-test localiser": _localiser,
}
"""By name. The system tapvid3d has no network of its own."""


def try_system(name: str, device: str) -> str:
    """Compute on the CPU and on a device; return the device's times of the first and a later pass, and the difference.

    Raises ArithmeticError if the results differ by more than a hundredth, or are not finite; and whatever the device raises.
    """
    import torch

    begun = time.perf_counter()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        work = SYSTEMS[name]()
        expected = work(torch.device("cpu")).clone()
        times: list[float] = []
        while len(times) <= _TIMES and (not times or time.perf_counter() - begun < BUDGET_S):
            started = time.perf_counter()
            result = work(torch.device(device)).cpu()  # waits for the device
            times.append(time.perf_counter() - started)
    if not result.isfinite().all():
        raise ArithmeticError("the result holds numbers that are not finite")
    off = float((result - expected).abs().max() / expected.abs().max().clamp(min=1e-9))
    if off > _OFF:
        raise ArithmeticError(f"the result differs from the CPU's by {off:.1%} of its largest number")
    return f"{1e3 * times[0]:.0f} ms the first time, then {1e3 * min(times[1:] or times):.1f} ms; off by {off:.0e} of the CPU's"
