"""Names of weights lead to files, or to one line that says what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from tapetum.errors import BadInput
from tapetum.hub.registry import KNOWN, find, folder, location, resolve


def test_every_entry_is_complete() -> None:
    assert "tapir-nano" in KNOWN
    for name, weights in KNOWN.items():
        assert weights.name == name
        assert weights.licence == "Apache-2.0"
        assert weights.bundled == (name in ("tapir-nano", "tapir-nano-synthetic", "causal-tapir-nano", "hip-nano"))
        assert weights.bundled or (weights.url or "").endswith(weights.file)


def test_names_are_found_in_the_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    with pytest.raises(
        BadInput, match=r"run: tapetum weights fetch bootstapir \(or download https://.*v2\.pt and put it at"
    ) as caught:
        resolve("bootstapir")
    assert str(tmp_path / "bootstapir_checkpoint_v2.pt") in str(caught.value)
    (tmp_path / "bootstapir_checkpoint_v2.pt").write_bytes(b"x")
    assert resolve("bootstapir") == (tmp_path / "bootstapir_checkpoint_v2.pt", KNOWN["bootstapir"])


def test_the_folder_of_weights_is_in_the_cache_of_hugging_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    for name in ("TAPETUM_WEIGHTS", "HF_ASSETS_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    default = huggingface_hub.cached_assets_path("tapetum", "weights", "x", assets_dir=tmp_path).parent
    assert default == tmp_path / "tapetum" / "weights"
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert folder() == tmp_path / "assets" / "tapetum" / "weights"
    monkeypatch.setenv("HF_ASSETS_CACHE", str(tmp_path / "a"))
    assert folder() == tmp_path / "a" / "tapetum" / "weights"
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path / "mine"))
    assert folder() == tmp_path / "mine"


def test_the_bundled_file_belongs_inside_the_package() -> None:
    assert location(KNOWN["tapir-nano"]).parts[-4:] == ("tapetum", "tap", "bundled", "tapir-nano.safetensors")


def test_weights_for_another_verb_are_refused() -> None:
    with pytest.raises(BadInput, match="hip-nano is for tapetum embed, not for track"):
        resolve("hip-nano")
    with pytest.raises(BadInput, match="tapir-nano is for tapetum track, not for embed"):
        resolve("tapir-nano", "embed")
    assert resolve("hip-nano", "embed") == (location(KNOWN["hip-nano"]), KNOWN["hip-nano"])


def test_paths_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"x")
    assert resolve(file) == (file, None)
    assert resolve(str(file)) == (file, None)


def test_unknown_names_get_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no weights named 'tapri' and no such file; did you mean tapir"):
        resolve("tapri")
    with pytest.raises(BadInput, match="known names are tapir-nano, tapir-nano-synthetic, causal-tapir-nano, hip-nano, tapir"):
        resolve("zzz.pt")
    with pytest.raises(BadInput, match="is a folder"):
        resolve(tmp_path)
    with pytest.raises(BadInput, match="did you mean causal-tapir"):
        find("causal_tapir")


def test_no_torch_is_imported() -> None:
    code = "import sys, tapetum.hub.registry, tapetum.hub.unpickle, tapetum.bench.tapvid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
