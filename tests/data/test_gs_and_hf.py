"""gs:// and hf:// against servers on this machine: an emulator of Google's storage, and the hub of `support.hub`."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from huggingface_hub import HfFileSystem, constants

from support.hub import serve
from support.storage import google_storage
from tapetum.core.addresses import describe, list_files, temporary_copy
from tapetum.core.errors import BadInput
from tapetum.data.remote_folder import local_place
from tapetum.data.shards import Shards, write_shards


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    samples: Iterator[dict[str, object]] = (
        {"__key__": f"{k}", "png": rng.integers(0, 255, (90, 90, 3), np.uint8), "cls": k} for k in range(5)
    )
    write_shards(samples, tmp_path / "repository" / "shards", "s", samples_per_shard=3)
    return tmp_path / "repository" / "shards"


def check_reading(address: str, folder: Path) -> None:
    """Compare what lies at the address of a folder of shards with what lies on the disk."""
    files = {file.address.removeprefix(f"{address}/"): file for file in list_files(address)}
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert {name: file.size for name, file in files.items()} == sizes
    tar = files["s-000000.tar"]
    assert tar.mark
    assert describe(tar.address) == tar
    assert describe(f"{address}/gone.tar") is None
    here, there = Shards(folder), Shards(address)
    assert [there.read(k) for k in range(5)] == [here.read(k) for k in range(5)]
    copied = local_place(address)
    assert {path.name: path.read_bytes() for path in copied.glob("*.tar")} == {
        path.name: path.read_bytes() for path in folder.glob("*.tar")
    }
    with pytest.raises(BadInput, match=r"^there is nothing at .*gone.tar[^\n]*$"), temporary_copy(f"{address}/gone.tar"):
        pass


@pytest.mark.slow
def test_google_s_storage(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with google_storage(monkeypatch):
        system = fsspec.filesystem("gs")
        for path in shards.iterdir():
            system.pipe_file(f"bucket/shards/{path.name}", path.read_bytes())
        check_reading("gs://bucket/shards", shards)


@pytest.mark.slow
def test_a_repository_of_a_hub(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({"datasets/own/images": shards.parent}) as variables:
        monkeypatch.setattr(constants, "ENDPOINT", variables["HF_ENDPOINT"])
        template = variables["HF_ENDPOINT"] + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        HfFileSystem.clear_instance_cache()
        try:
            check_reading("hf://datasets/own/images/shards", shards)
            with pytest.raises(BadInput, match=r"hf://datasets/own/none[^\n]*$"):
                list_files("hf://datasets/own/none")
        finally:
            HfFileSystem.clear_instance_cache()
