"""Names of copies: each process of the machine reads them beside the copies; what is no copy keeps its path."""

import os
from pathlib import Path

import pytest

from core import copies_script
from tapetum.core.copies import address_of, copy_root, place_name, using, with_addresses, write_address
from tapetum.core.errors import BadInput
from tapetum.core.jobs import run_jobs


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "disk").mkdir()
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "tapetum").symlink_to(tmp_path / "disk")  # where home is small
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "disk" / "folders"


def copied(address: str, *below: str) -> str:
    """Make an empty folder as if for copies; returns where what is named in it would be."""
    copy_root(address).mkdir(parents=True, exist_ok=True)
    write_address(address)
    return os.path.join(copy_root(address), *below)


@pytest.mark.parametrize(
    ("address", "below", "name"),
    [
        ("s3://bucket/photos", "photos", "s3://bucket/photos"),
        ("s3://bucket/photos", "photos/a/b c#.jpg", "s3://bucket/photos/a/b c#.jpg"),
        ("s3://bucket/sums", f"sums/{'0a' * 16}/1.jpg", f"s3://bucket/sums/{'0a' * 16}/1.jpg"),
        ("s3://bucket", "bucket/a.jpg", "s3://bucket/a.jpg"),
        ("https://host/my%20photos", "my photos/b c#.jpg", "https://host/my%20photos/b%20c%23.jpg"),
        ("https://host/clip.mp4?part=a%2Fb", "clip.mp4", "https://host/clip.mp4?part=a%2Fb"),
        ("https://host", "data/a.jpg", "https://host/a.jpg"),
        ("https://host/some/lines.jsonl", "images/red 0.png", "https://host/some/images/red%200.png"),
        ("hf://datasets/a/set", "set#episode=3,camera=top", "hf://datasets/a/set#episode=3,camera=top"),
    ],
)
def test_a_copy_is_named_by_its_address(address: str, below: str, name: str) -> None:
    place = copied(address, below)
    assert (address_of(place), place_name(Path(place))) == (name, name)
    message = with_addresses(f"cannot read {place}: no video; nor /elsewhere/a, nor {place}")
    assert message.replace(" c#", "%20c%23").replace("red 0", "red%200").count(name.replace(" c#", "%20c%23")) == 2
    assert str(copy_root(address)) not in message


def test_what_is_no_copy_keeps_its_path(cache: Path) -> None:
    other = cache / ("0f" * 16)
    other.mkdir(parents=True)
    (other / ".address").write_text("s3://bucket/somebody/else")
    for place in ("photos/a.jpg", f"{other}/a.jpg", f"{cache}/{'0e' * 16}/a.jpg", f"{cache}"):
        assert (address_of(place), place_name(place), with_addresses(f"no {place}")) == (None, place, f"no {place}")


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_machine_of_a_cluster_that_does_not_see_the_copies_is_named() -> None:
    present, missing = copied("s3://bucket/present", "present"), copied("s3://bucket/missing", "missing")
    Path(present).touch()
    with using([f"{present}#episode=1"]):
        assert sorted(run_jobs(copies_script.name_twice, [present], engine="ray")) == [(0, "s3://bucket/present twice")]
    with (
        using([present, missing]),
        pytest.raises(BadInput, match=r"^s3://bucket/missing was copied to this machine, and .* not see"),
    ):
        list(run_jobs(copies_script.name_twice, [missing], engine="ray"))
