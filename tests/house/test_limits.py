"""The project stays within the caps of limits.toml, which never rise."""

from collections.abc import Mapping

import pytest

from house import counts as house


@pytest.fixture(scope="module")
def counts() -> Mapping[str, int]:
    return house.counts()


@pytest.mark.parametrize("name", house.read_limits())
def test_nothing_grows_beyond_its_cap(counts: Mapping[str, int], name: str) -> None:
    assert counts[name] <= house.read_limits()[name], f"{name}: something else must leave first; a cap never rises"


def test_everything_counted_has_a_cap(counts: Mapping[str, int]) -> None:
    assert house.read_limits().keys() == counts.keys()


def test_the_page_of_evidence_has_the_caps() -> None:
    text = house.PAGE.read_text()
    for name, limit in house.read_limits().items():
        assert f"| {name} | " in text
        assert f" | {limit:,} |" in text
