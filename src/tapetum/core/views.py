"""Views of values, such as tracks that play over their video: what draws a type is an entry point of its name.

So a type can be shown without knowing who shows it; what draws it is imported when a view is first needed.
"""

from importlib.metadata import entry_points
from typing import Any

GROUP = "tapetum.views"


def view_of(value: Any, *beside: Any) -> Any:
    """Draw a value, such as tracks beside their video; None where no entry point has the name of its class."""
    for kind in type(value).__mro__:
        for entry in entry_points(group=GROUP, name=kind.__name__):
            return entry.load()(value, *beside)
    return None
