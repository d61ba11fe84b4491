"""A tiny TAPNext network with random weights."""

import pytest

from support.tapnext import public_state
from tapetum.systems.tapnext import TapNext, from_official


@pytest.fixture
def network() -> TapNext:
    """Build the tiny network."""
    return from_official(public_state())
