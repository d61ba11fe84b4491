"""Package names that are imported on first access, so that importing the package stays cheap."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def lazy_attributes(
    package: str, names: Mapping[str, Sequence[str]] | None = None, modules: Mapping[str, str] | Sequence[str] = ()
) -> Callable[[str], Any]:
    """Build the `__getattr__` of a package.

    Args:
        package: its full name.
        names: objects taken from modules: {"model": ("Model", "build")} gives package.Model from package.model.
        modules: whole modules: names of modules of the package, or a mapping from names to module paths below it.

    >>> find = lazy_attributes("tapetum", {"types": ("Tracks",)}, ("metrics",))
    >>> find("Tracks").__module__
    'tapetum.types.tracks'
    >>> find("Cat")
    Traceback (most recent call last):
    AttributeError: module 'tapetum' has no attribute 'Cat'
    """
    homes = {name: module for module, there in (names or {}).items() for name in there}
    paths = dict(modules) if isinstance(modules, Mapping) else {name: name for name in modules}

    def find(name: str) -> Any:
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        if name in paths:
            return import_module(f"{package}.{paths[name]}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find


def lazy_modules(package: str) -> Callable[[str], Any]:
    """Build the `__getattr__` of a package that exposes each of its modules.

    >>> lazy_modules("tapetum.core")("errors").__name__
    'tapetum.core.errors'
    """

    def find(name: str) -> Any:
        if name.startswith("_") or find_spec(f"{package}.{name}") is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return import_module(f"{package}.{name}")

    return find
