"""Names of a package that are imported when they are first asked for, so that importing the package stays cheap."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_attributes(
    package: str,
    names: Mapping[str, Sequence[str]] | None = None,
    modules: Mapping[str, str] | Sequence[str] = (),
) -> Callable[[str], Any]:
    """Build the `__getattr__` of a package.

    Args:
        package: its full name.
        names: what is taken out of modules: {"model": ("Model", "build")} gives package.Model from package.model.
        modules: what is given as a whole: names of modules of the package, or each name with the module's path below it.

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
