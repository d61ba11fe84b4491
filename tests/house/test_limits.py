"""The house stays as small as it was: counts held against limits that only fall, and each file in the room that it claims."""

from collections.abc import Mapping

import pytest

from house import counts as house


@pytest.fixture(scope="module")
def counts() -> Mapping[str, int]:
    return house.counts()


@pytest.mark.parametrize("name", house.read_limits())
def test_nothing_grows_beyond_its_limit(counts: Mapping[str, int], name: str) -> None:
    assert counts[name] <= house.read_limits()[name], f"{name}: make room, or say in limits.toml why it must rise"


def test_everything_counted_has_a_limit(counts: Mapping[str, int]) -> None:
    assert house.read_limits().keys() == counts.keys()


def test_the_page_of_evidence_has_the_limits() -> None:
    text = house.PAGE.read_text()
    for name, limit in house.read_limits().items():
        assert f"| {name} | " in text
        assert f" | {limit:,} |" in text
