"""Models that are kept in a process."""

from pathlib import Path

import pytest

from support.networks import TAPIR_NANO, save_tapir
from tapetum.hub import loading


def test_kept_models_are_the_same_until_their_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [save_tapir(tmp_path / f"{number}.safetensors", TAPIR_NANO) for number in range(3)]
    assert loading.load(paths[0]) is not loading.load(paths[0])
    monkeypatch.setattr(loading, "_kept", None)
    loading.keep_loaded()
    first = loading.load(paths[0])
    assert loading.load(paths[0]) is first
    assert loading.load(paths[0], "cpu") is not first
    save_tapir(paths[0], TAPIR_NANO)
    changed = loading.load(paths[0])
    assert changed is not first
    for path in paths[1:]:
        loading.load(path)
    assert loading.load(paths[0]) is not changed  # the last two are kept
