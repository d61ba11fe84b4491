"""Images as phones make them."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tapetum
from support.scripts import GOLDEN, script
from tapetum.core.errors import MissingExtra
from tapetum.data.files import opened_image, stored_file
from tapetum.video import open_video

Run = Callable[..., tuple[int, str, str]]
WORLD = script("tests/golden/make_paligemma_taught_golden.py")
MODEL = str(GOLDEN / "paligemma_taught.safetensors")


@pytest.fixture(params=[".heic", ".HEIF"])
def photo(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    heif = pytest.importorskip("pillow_heif")
    path = tmp_path / f"photo{request.param}"
    heif.from_pillow(Image.fromarray(WORLD.make_image("green", "right"))).save(path, quality=100, chroma=444)
    return path


def test_every_reader_of_images_takes_it(photo: Path):
    true = WORLD.make_image("green", "right").astype(int)
    assert np.abs(open_video(photo)[0] - true).max() < 12
    assert np.abs(open_video(photo.parent)[0] - true).max() < 12
    assert np.abs(np.asarray(opened_image(stored_file(photo), "RGB")) - true).max() < 12
    assert tapetum.ask(photo, "what color is the square ?", model=MODEL).text == "green"
    assert len(tapetum.ask(photo.parent, "what color is the square ?", model=MODEL).images) == 1
    assert tapetum.embed((photo,)).vectors.shape[0] == 1
    assert len(tapetum.embed((photo.parent,)).vectors) == 1
    assert tapetum.discover((photo,), out=photo.parent / "found").failed == ()


@pytest.mark.parametrize("verb", [("ask", "{}", "what is it ?"), ("embed", "{}", "--out", "t.npz"), ("track", "{}")])
def test_without_the_package_one_line_names_the_extra(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    code, _, err = run(*(word.format("a.heic") for word in verb))
    assert code == 2
    assert "pip install 'tapetum[heic]'" in err.splitlines()[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"a.heic"}
    with pytest.raises(MissingExtra, match="pillow-heif"):
        open_video(tmp_path / "a.heic")
