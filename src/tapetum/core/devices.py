"""Devices: whether a requested one exists, and whether code can be compiled for it; memory: whether work has enough.

Imports torch only when called.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    import torch


EncoderPrecision = Literal["auto", "float32", "bfloat16", "float16", "int8"]


@dataclass(frozen=True)
class Processor:
    """A processor, as far as it decides which kernels are fast, or right."""

    vendor: str
    """As it calls itself: AuthenticAMD, GenuineIntel; elsewhere the architecture."""
    features: tuple[str, ...]
    """Of `FEATURES` those that it has."""


FEATURES = "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"
"""Instructions for vectors and matrices that torch's kernels ask for, by their names in Linux."""


@cache
def processor() -> Processor:
    entries: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            entries.setdefault(name.strip(), value.strip())
    except OSError:  # not Linux
        pass
    vendor = entries.get("vendor_id") or ("GenuineIntel" if "Intel" in platform.processor() else platform.machine())
    flags = set(entries.get("flags", "").split())
    return Processor(vendor, tuple(feature for feature in FEATURES if feature in flags))


@cache
def cache_bytes() -> int:
    """Read the size of the largest cache of this machine's processor: 32 MiB at most, and where nothing says it."""
    most = 32 << 20
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return min(max((int(size[:-1]) << 10 for size in sizes if size[:-1].isdecimal() and size[-1] == "K"), default=most), most)


def devices_here() -> list[str]:
    """List this machine's devices for torch, by their option names.

    >>> "cpu" in devices_here()
    True
    """
    import torch

    devices = ["cpu"]
    if (accelerator := torch.accelerator.current_accelerator(check_available=True)) is not None:
        count = torch.accelerator.device_count()
        devices += [f"{accelerator.type}:{n}" for n in range(count)] if count > 1 else [accelerator.type]
    return devices


AUTOMATIC = "cuda", "xpu", "mps"
"""Kinds of accelerators that "auto" chooses from, the first that is there; torch is built for one of them at most."""


def choose_device(name: Any) -> Any:
    """Choose the device for an option: auto is the first of `AUTOMATIC` that this machine has, else the CPU.

    Other names, torch devices, and None stay unchanged.

    >>> choose_device("cuda:1"), choose_device("auto") in ("cpu", *AUTOMATIC)
    ('cuda:1', True)
    """
    if not isinstance(name, str) or name != "auto":
        return name
    import torch

    return next((kind for kind in AUTOMATIC if getattr(torch, kind).is_available()), "cpu")


def find_device(name: Any) -> "torch.device":
    """Find the device of a name (None is the CPU, auto is resolved by `choose_device`), after a test computation on it.

    Raises BadInput for any other name, listing the available devices.

    >>> find_device("fpga")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: there is no device 'fpga' to compute on; this machine has cpu...
    """
    import torch

    try:
        device = torch.device("cpu" if name is None else choose_device(name))
        if device.type != "meta":  # whose tensors have shapes and no numbers
            (torch.ones(1, device=device) + 1).cpu()
            return device
    except (RuntimeError, AssertionError, TypeError, ImportError, NotImplementedError):
        pass
    raise BadInput(f"there is no device {str(name)!r} to compute on; this machine has {', '.join(devices_here())}")


def knows_bfloat16(processor: Processor) -> bool:
    """Check whether a processor has native bfloat16 matrix instructions.

    >>> [knows_bfloat16(Processor("AuthenticAMD", (feature,))) for feature in ("avx512_bf16", "amx_bf16", "avx512f")]
    [True, True, False]
    """
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(processor.features)


def knows_int8(processor: Processor) -> bool:
    """Check whether a processor multiplies bytes and adds up the products in one instruction, without clipping these.

    >>> [knows_int8(Processor("GenuineIntel", (feature,))) for feature in ("avx_vnni", "avx512_vnni", "avx2")]
    [True, True, False]
    """
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(processor.features)


def choose_dtype(name: str, device: Any = None) -> str:
    """Choose the precision for "auto" on a device: bfloat16 if it is native, otherwise float32. Other names stay unchanged.

    It is native to CPUs with AVX512_BF16 or AMX, where it takes a tracker about half the time (docs/evidence/tap-speed.md),
    and on NVIDIA GPUs from capability 8.0 on. Nothing is measured here, so that all runs on a machine give the same numbers.

    Raises BadInput as `find_device`.

    >>> choose_dtype("float16"), choose_dtype("auto") in ("float32", "bfloat16")
    ('float16', True)
    """
    if name != "auto":
        return name
    place = find_device(device)
    if place.type == "cuda":
        import torch

        native = torch.version.hip is None and torch.cuda.get_device_capability(place) >= (8, 0)
    else:
        native = place.type == "cpu" and knows_bfloat16(processor())
    return "bfloat16" if native else "float32"


def send_to_device(x: "torch.Tensor", device: "torch.device | str") -> "torch.Tensor":
    """Copy a tensor from the CPU to a device, if possible without waiting for computations there.

    MPS waits: it reads the CPU's memory later, when it may have been reused.
    """
    import torch

    return x.to(device, non_blocking=torch.device(device).type != "mps")


def to_device(batch: Any, device: "torch.device") -> Any:
    """Rebuild the structure of dicts, lists, tuples and dataclasses with its tensors on `device`; other values stay.

    >>> import torch
    >>> to_device({"x": torch.zeros(2), "name": "a"}, torch.device("cpu"))
    {'x': tensor([0., 0.]), 'name': 'a'}
    """
    import torch

    if isinstance(batch, torch.Tensor):
        return send_to_device(batch, device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{f.name: to_device(getattr(batch, f.name), device) for f in fields(batch) if f.init})
    return batch


_unwatched: list[bool] = []
"""Not empty: in a step of a training run."""


@contextmanager
def leave_out_checks() -> Iterator[None]:
    """Let `all_finite` skip checks on an accelerator inside the block, which is a step of a training run.

    The run checks its gradients, which are not finite if the values behind them are not.
    """
    _unwatched.append(True)
    try:
        yield
    finally:
        _unwatched.pop()


def all_finite(x: "torch.Tensor") -> bool:
    """Check whether all numbers are finite; the host waits until they are computed.

    Tensors on the meta device therefore pass, and in `leave_out_checks` those on an accelerator.
    """
    if x.device.type == "meta" or (_unwatched and x.device.type != "cpu"):
        return True
    return bool(x.sum().isfinite()) or bool(x.isfinite().all())  # a sum is cheaper, but may overflow


@contextmanager
def full_precision() -> Iterator[None]:
    """Switch the caller's autocast off in a block, or in a function that this decorates.

    Exact results, such as a track to a tenth of a pixel, do not survive the 8 bits of bfloat16.
    """
    torch = sys.modules.get("torch")  # who has not imported it has no autocast
    with ExitStack() as stack:
        if torch is not None:
            for kind in {"cpu", "cuda", "mps", "xpu", torch._C._get_privateuse1_backend_name()}:  # the last of a plug-in
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def check_compiler(device: "torch.device") -> None:
    """Raise `BadInput` if torch.compile would find no C++ compiler for code on the CPU."""
    command = os.environ.get("CXX") or "g++"
    if device.type == "cpu" and shutil.which(command.split()[0]) is None:
        raise BadInput(
            f"compiling needs a C++ compiler, and there is no {command}; install one, name it in CXX, or leave --compile out"
        )


_GROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int | None:
    """Count the bytes that this process can still allocate: of the machine, or of its control group; None if unknown."""
    known = [number for number in (_of_machine(), _of_group()) if number is not None]
    return min(known) if known else None


def peak_bytes() -> int | None:
    """Count the most bytes that this process has had in memory at a time; None where the system does not say."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_bytes(process: int) -> int:
    """Count the bytes of a process that are in memory; 0 where the system does not say."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def check_room(needed: float, work: str, advice: str) -> None:
    """Raise BadInput if `needed` bytes are more than are free; `work` says what uses them, `advice` what to do.

    >>> check_room(1e30, "a clip of 100000x100000 pixels", "make it smaller")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: a clip of 100000x100000 pixels takes about ... GiB of memory, ...; make it smaller
    """
    free = free_bytes()
    if free is not None and needed > free:
        raise BadInput(f"{work} takes about {memory_size(needed)} of memory, of which {memory_size(free)} are free; {advice}")


def memory_size(count: float) -> str:
    """Format a number of bytes for display.

    >>> memory_size(3_500_000), memory_size(2.5 * 2**30)
    ('3 MiB', '2.5 GiB')
    """
    return f"{count / 2**20:.0f} MiB" if count < 2**30 else f"{count / 2**30:,.1f} GiB"


def spoken(seconds: float) -> str:
    """Write a duration in its largest unit, roughly.

    >>> spoken(42), spoken(600), spoken(9000), spoken(300_000)
    ('42 s', '10 min', '2.5 h', '3.5 days')
    """
    for unit, length, digits in (("days", 86400, 1), ("h", 3600, 1), ("min", 60, 0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_group() -> int | None:
    """Version 2 of control groups, in which a container sees its own root."""
    try:
        most, used = (int((_GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no groups, or "max": no limit
        return None
    return max(0, most - used)


def return_freed_memory() -> None:
    """Give freed blocks back to the system, with glibc; another C library decides for itself."""
    import ctypes

    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
