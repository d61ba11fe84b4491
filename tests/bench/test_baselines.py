"""Trackers by name."""

import pytest

from tapetum.bench.baselines import load_tracker3d
from tapetum.core.errors import BadInput


def test_trackers_by_name() -> None:
    assert type(load_tracker3d("static")).__name__ == "Static"
    with pytest.raises(BadInput, match="there is no depth nowhere"):
        load_tracker3d("tapir-nano", "nowhere")
    with pytest.raises(BadInput, match="nano-tapir"):
        load_tracker3d("nano-tapir")
