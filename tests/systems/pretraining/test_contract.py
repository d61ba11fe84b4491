"""Every method of the registry in shards."""

from pathlib import Path
from typing import Any

import pytest

from support.sharding import check_shards
from systems.pretraining.conftest import RESNET, VIT, begun
from tapetum.systems.pretraining.methods import METHODS


@pytest.mark.parametrize(
    ("method", "network"),
    [*((method, RESNET) for method, task in METHODS.items() if not task.hides_patches), *((method, VIT) for method in METHODS)],
)
def test_in_shards_it_is_the_same(method: str, network: dict[str, Any], data: Path) -> None:
    task, _, _, batch = begun(method, data, **network)
    check_shards(task, batch, least=0.2)  # heads and stems are most of networks so small
