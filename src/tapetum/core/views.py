"""Views of values, such as tracks that play over their video: an entry point with the name of a type draws it.

A type can thus be shown without knowing who shows it; the drawing code is imported when a view is first needed.
"""

from importlib.metadata import entry_points
from typing import Any

GROUP = "tapetum.views"


def view_of(value: Any, *beside: Any) -> Any:
    """Draw a value, such as tracks beside their video; None if no entry point has the name of its class."""
    for kind in type(value).__mro__:
        for entry in entry_points(group=GROUP, name=kind.__name__):
            return entry.load()(value, *beside)
    return None
