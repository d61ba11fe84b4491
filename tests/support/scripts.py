"""Scripts outside the package, as modules: benchmarks, tools of the docs, evidence, and those that recorded golden tensors."""

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"
"""Recorded tensors, beside the scripts that recorded them."""


@cache
def script(path: str) -> ModuleType:
    """Load `path`, relative to the root of the repository."""
    name = Path(path).stem
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    folder = str((ROOT / path).parent)
    sys.path.insert(0, folder)  # a script imports the others of its folder
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module
