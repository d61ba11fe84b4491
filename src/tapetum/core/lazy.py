"""Names of a package that are imported when they are first asked for, so that importing the package stays cheap."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_attributes(
    package: str,
    names: Mapping[str, Sequence[str]] | None = None,
    modules: Mapping[str, str] | Sequence[str] = (),
    older: Mapping[str, str] | None = None,
) -> Callable[[str], Any]:
    """Build the `__getattr__` of a package.

    Args:
        package: its full name.
        names: what is taken out of modules: {"model": ("Model", "build")} gives package.Model from package.model.
        modules: what is given as a whole: names of modules of the package, or each name with the module's path below it.
        older: names that something had before, each with its name of today.

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
        name = (older or {}).get(name, name)
        if name in homes:
            return getattr(import_module(f"{package}.{homes[name]}"), name)
        if name in paths:
            return import_module(f"{package}.{paths[name]}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find


_places: dict[tuple[str, str], str] = {}


def register(kind: str, name: str, place: str) -> None:
    """Register something under a name of its kind: "MODULE:NAME", imported when `registered` is first asked for it.

    So a part of the package can be used by those below it, which know its kind and not its module.
    """
    _places[kind, name] = place


def registered(kind: str, name: str) -> Any | None:
    """Import what is registered under a name of a kind; None where nothing is.

    >>> register("root", "of two", "math:sqrt")
    >>> registered("root", "of two")(2) == 2**0.5, registered("root", "of three")
    (True, None)
    """
    if (kind, name) not in _places:
        return None
    module, _, attribute = _places[kind, name].partition(":")
    return getattr(import_module(module), attribute)
