"""Description of a run's machine: packages, processor, memory, commit. No host name, no path: a ledger can be published."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tapetum.core.errors import hide_secrets

PACKAGES = ("tapetum", "torch", "numpy", "av", "safetensors", "einops")


def package_versions() -> dict[str, str]:
    """List the versions of the packages that affect results; those not installed are omitted."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def machine(gpus: Sequence[str] = ()) -> dict[str, Any]:
    """Describe the machine: processor, cores that this process may use, memory in GiB, GPU names, operating system."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return {
        "cpu": _cpu_name(),
        "cores": usable,
        "memory_gib": memory,
        "gpus": list(gpus),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit(file: Path) -> str | None:
    """Read the commit of the checkout that tracks `file`, with '+changes' if tracked files differ from it; None outside of
    one.

    A file that merely lies inside a checkout, as an installed package lies inside a project's .venv, is not tracked by it.
    """
    try:
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        return _git(file.parent, "rev-parse", "HEAD") + ("+changes" if _git(file.parent, "status", "-s", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()


def without_paths(value: Any) -> Any:
    """Replace every absolute path in the strings of a value by its last part, and hide secrets in addresses.

    >>> without_paths({"command": "train --data=/home/ann/photos", "steps": 3})
    {'command': 'train --data=photos', 'steps': 3}
    """
    if isinstance(value, str):
        value = hide_secrets(value)
        return " ".join("=".join(_last_part(part) for part in word.split("=")) for word in value.split(" "))
    if isinstance(value, Mapping):
        return {str(key): without_paths(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_paths(entry) for entry in value]
    return value


def _last_part(text: str) -> str:
    for kind in (PurePosixPath, PureWindowsPath):
        if kind(text).is_absolute():
            return kind(text).name
    return text
