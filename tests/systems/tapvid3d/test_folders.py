"""The packaged lists are the public ones: their counts, and the SHA-256 of each that make_tapvid3d_splits.py printed."""

import hashlib

import pytest

from tapetum.core.errors import BadInput
from tapetum.systems.tapvid3d.folders import SOURCES, files, source_of

PUBLIC = {
    ("minival", "adt"): (50, "c22b1abc250a5cd33cfaf127a5339608f20b2e00f2605b833fe8f7220fe49f6c"),
    ("full", "adt"): (1906, "a5a83dd3e5b5672e7615d4bf7d499470c3f7f76382bc2f0d44e275dbcb92ad14"),
    ("minival", "drivetrack"): (50, "a16ff2731c61ae440ba01b3dc14c4b4af37c07376af6bea14abd52ab502e5faa"),
    ("full", "drivetrack"): (2407, "646d7471d9e6a4b6a2fa295acc06ee6ecb897bb7e9a4db0bce66ffa0d26d0357"),
    ("minival", "pstudio"): (50, "83c160c8a47675d92f5e63b4d512c38fb2cc52641ba34f19281dbab6257a8cdd"),
    ("full", "pstudio"): (106, "6734f5e81948b8a55a13c16484013d339ad63c297bf87e2dfcc7bc25d28df6a1"),
}


@pytest.mark.parametrize(("split", "source"), PUBLIC)
def test_lists_are_the_public_ones(split: str, source: str) -> None:
    names = files(split, source)  # pyright: ignore[reportArgumentType]
    digest = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()
    assert (len(names), digest) == PUBLIC[split, source]


def test_counts_of_the_whole() -> None:
    assert [len(files("all", source)) for source in SOURCES] == [1956, 2457, 156]
    assert len(files("all")) == len(set(files("all"))) == 4569
    assert not set(files("minival")) & set(files("full"))
    assert set(files("minival")) | set(files("full")) == set(files("all"))


def test_every_name_knows_its_source() -> None:
    for source in SOURCES:
        assert {source_of(name) for name in files("all", source)} == {source}
    assert source_of("tapvid3d_9142545919543484617_86_000_106_000_2_5AKc-TYQochsSWXpv376cA.npz") == "drivetrack"
    assert source_of("mine.npz") is None


def test_other_names_are_refused() -> None:
    with pytest.raises(BadInput, match="there is no split 'test'; it is one of minival, full, all"):
        files("test")  # pyright: ignore[reportArgumentType]
    with pytest.raises(BadInput, match="there is no source 'waymo'; it is one of adt, drivetrack, pstudio"):
        files("minival", "waymo")  # pyright: ignore[reportArgumentType]
