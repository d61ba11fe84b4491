"""Views of values, such as tracks that play over their video: the module that draws a type registers it here.

So a type can be shown without knowing who shows it. `import tapetum` names the modules that draw; they are imported when a
view is first needed.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

_views: dict[type, Callable[..., Any]] = {}
_modules: list[str] = []


def register_view(kind: type, view: Callable[..., Any]) -> None:
    """Draw values of `kind` with `view`, called with the value and whatever it is shown with."""
    _views[kind] = view


def register_view_module(name: str) -> None:
    """Name a module that calls `register_view` when it is imported."""
    _modules.append(name)


def view_of(value: Any, *beside: Any) -> Any:
    """Draw a value, such as tracks beside their video; None where nothing is registered for its type."""
    while _modules:
        import_module(_modules.pop())
    view = next((_views[kind] for kind in type(value).__mro__ if kind in _views), None)
    return None if view is None else view(value, *beside)
