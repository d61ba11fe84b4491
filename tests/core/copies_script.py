"""Work of `test_copies.py` in other processes."""

import os
from typing import Any

from tapetum.core.copies import place_name


def name_twice(place: str, _: Any) -> str:
    """Name a copy, as a process that did not make it does."""
    return f"{place_name(place)} twice" if os.path.exists(place) else "nothing"
