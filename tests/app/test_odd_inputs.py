"""Whatever a function of the package is given, it gives a result or a TapetumError."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from support.scripts import GOLDEN
from tapetum import encoders
from tapetum.app.values import check_values
from tapetum.core.errors import BadInput, TapetumError

MODEL = str(GOLDEN / "paligemma_taught.safetensors")
RGB = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)


class Broken:
    ndim, shape, dtype = 3, (4, 4, 3), "uint8"

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise RuntimeError("no")


ODD: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "number": lambda: 3,
    "nan": lambda: float("nan"),
    "bytes": lambda: b"abc",
    "empty text": lambda: "",
    "no file": lambda: "no-such-file.xyz",
    "zero in a path": lambda: "a\0b",
    "dict": lambda: {"a": 1},
    "object": object,
    "class": lambda: int,
    "empty list": list,
    "nested lists": lambda: [[1, 2], [3, 4]],
    "list of none": lambda: [None],
    "image": lambda: RGB,
    "image list": lambda: [RGB, RGB],
    "gray": lambda: RGB[..., 0],
    "rgba": lambda: np.concatenate([RGB, RGB[..., :1]], -1),
    "five channels": lambda: np.zeros((40, 48, 5), np.uint8),
    "floats": lambda: RGB / 255,
    "wide floats": lambda: RGB.astype(np.float32),
    "nans": lambda: np.full((40, 48, 3), np.nan),
    "int8": lambda: RGB.astype(np.int8),
    "complex": lambda: RGB.astype(complex),
    "texts": lambda: np.full((40, 48, 3), "x"),
    "objects": lambda: np.full((4, 4, 3), None),
    "channels first": lambda: np.moveaxis(RGB, -1, 0),
    "nothing in it": lambda: np.zeros((0, 4, 3), np.uint8),
    "a point": lambda: np.zeros((), np.uint8),
    "a row": lambda: np.zeros(9, np.uint8),
    "five dimensions": lambda: np.zeros((1, 1, 4, 4, 3), np.uint8),
    "video": lambda: np.stack([RGB] * 3),
    "read-only": lambda: np.broadcast_to(RGB[:1, :1], RGB.shape),
    "tensor": lambda: torch.from_numpy(RGB),
    "tensor of a video": lambda: torch.from_numpy(np.stack([RGB] * 3)),
    "tensor that learns": lambda: torch.rand(40, 48, 3, requires_grad=True),
    "bfloat16": lambda: torch.rand(40, 48, 3, dtype=torch.bfloat16),
    "meta": lambda: torch.empty(40, 48, 3, device="meta"),
    "sparse": lambda: torch.zeros(40, 48, 3).to_sparse(),
    "quantised": lambda: torch.quantize_per_tensor(torch.rand(40, 48, 3), 0.1, 0, torch.quint8),
    "pillow": lambda: Image.fromarray(RGB),
    "pillow list": lambda: [Image.fromarray(RGB), RGB, torch.from_numpy(RGB)],
    "pillow 1": lambda: Image.new("1", (8, 8)),
    "sizes differ": lambda: [RGB, RGB[:20]],
    "broken array": Broken,
    "generator": lambda: (frame for frame in [RGB]),
}
"""Things that somebody may give in place of an image, a video or a file."""
REST: dict[str, Any] = {
    "question": "what color is the square ?", "things": "square", "out": "out", "target": "out.npz", "words": "a cup",
    "task": "nextqa", "data": "nowhere", "annotations": "nowhere.json", "video": "nowhere.mp4", "launch": None, "model": None,
}  # fmt: skip
"""Of parameters that must be given."""
GIVEN: dict[str, dict[str, Any]] = {
    **{name: {"model": MODEL, "tokens": 4} for name in ("ask", "caption", "detect", "segment")},
    "track_things": {"model": MODEL, "tracker": "static", "tokens": 16},
    "track": {"model": "static", "grid": 2, "no_overlay": True},
    "track_many": {"model": "static", "grid": 2, "no_overlay": True},
    "track_live": {"grid": 2},
    "classify": {"model": "no-such-model"},
    "show": {"video": RGB[None]},
    "answer": {"model": "no-such-model"},
    "fetch_perception_test": {"source": "http://127.0.0.1:9/"},
}
"""What else they are given, so that no test takes long."""


SLOW = ("ask", "discover", "embed", "evaluate_paligemma")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in [*tapetum._FUNCTIONS, "load"]]
)
@pytest.mark.filterwarnings("ignore")
def test_a_result_or_a_typed_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    function = getattr(tapetum, name)
    parameters = list(inspect.signature(function).parameters.values())
    first = parameters[0].name
    rest = {p.name: REST[p.name] for p in parameters[1:] if p.default is p.empty}
    rest |= {key: value for key, value in GIVEN.get(name, {}).items() if key != first}
    texts: list[tuple[str, str]] = []
    for kind, make in ODD.items():
        try:
            function(**{first: make()}, **rest)
        except TapetumError as error:
            texts.append((kind, str(error)))
        except Exception as error:
            raise AssertionError(f"{name} of {kind}: {type(error).__name__}: {error}") from error
    for kind, text in texts:
        assert "\n" not in text, kind
        assert len(text) < 1200, kind


def test_every_other_value_is_looked_at_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    for name in sorted(tapetum._FUNCTIONS):
        function = getattr(tapetum, name)
        if name == "adapt":
            continue
        parameters = list(inspect.signature(function).parameters.values())
        rest = {p.name: REST.get(p.name, "nowhere") for p in parameters if p.default is p.empty}
        for parameter in parameters:
            for value in (np.zeros((2, 2)), object(), {1: 2}):
                if "Any" in str(parameter.annotation) or "Callable" in str(parameter.annotation):
                    continue
                with pytest.raises(TapetumError):
                    function(**{**rest, parameter.name: value})


@pytest.mark.parametrize(
    "kind",
    ["image", *(pytest.param(k, marks=pytest.mark.slow) for k in ("floats", "tensor", "pillow", "rgba", "gray", "bfloat16"))],
)
def test_images_in_memory_are_taken_where_files_are(kind: str, tmp_path: Path):
    made = ODD[kind]()
    alone = tapetum.embed(made)
    assert alone.paths == ("image-0",)
    assert alone.modalities == (("image",),)
    assert tapetum.embed([made, made], out=tmp_path / "t.npz").vectors.shape[0] == 2
    assert tapetum.discover(made, out=tmp_path / "found").images == ("image-0",)
    assert len(tapetum.caption(made, model=MODEL, tokens=2).images) == 1
    if kind in ("image", "tensor", "pillow"):
        Image.fromarray(RGB).save(tmp_path / "a.png")
        np.testing.assert_array_equal(alone.vectors, tapetum.embed(tmp_path / "a.png").vectors)


def test_videos_in_memory_are_taken_where_files_are(tmp_path: Path):
    frames = np.stack([RGB] * 30)
    for made in (frames, torch.from_numpy(frames), list(frames), tapetum.video.open_video(frames)):
        assert tapetum.track(made, model="static", grid=2).tracks.frames == 30
    done = tapetum.track(frames, model="static", grid=2, out=tmp_path / "out", no_overlay=True)
    assert tapetum.show(done.out / "tracks.npz", frames, out=tmp_path / "drawn.gif").overlay.exists()
    assert tapetum.convert(done.out / "tracks.npz", tmp_path / "coco.json", to="coco", video=frames)
    with pytest.raises(BadInput, match="give out"):
        tapetum.show(done.out / "tracks.npz", frames)
    embedded = tapetum.embed([tapetum.video.open_video(frames), RGB])
    assert embedded.start_s == (0.0, 1.0, None)
    assert embedded.paths == ("array", "array", "image-1")
    with pytest.raises(BadInput, match="is a video of 30 frames; show some"):
        tapetum.caption(tapetum.video.open_video(frames), model=MODEL)


@pytest.mark.slow
def test_a_batch_of_images_is_a_batch(tmp_path: Path):
    images, names = [RGB, RGB[::-1].copy(), 255 - RGB], ("image-0", "image-1", "image-2")
    array = np.stack(images)
    for batch in (array, images, torch.from_numpy(array)):
        embedded = tapetum.embed(batch)
        assert embedded.paths == names
        assert embedded.start_s == (None, None, None)
        with pytest.raises(BadInput, match="there are no FILES"):
            tapetum.embed(batch[:0])
    np.testing.assert_allclose(embedded.vectors[1], tapetum.embed(images[1]).vectors[0], atol=1e-5)
    assert tapetum.discover(array, out=tmp_path).images == names
    assert [caption.path for caption in tapetum.caption(array, model=MODEL, tokens=2).images] == list(names)
    assert len(tapetum.caption(array, model=MODEL, tokens=2, frames=2).images) == 1  # with frames it is a video
    assert tapetum.embed(array, model="mcvit-films").modalities == (("video",),)  # so for a model that takes frames together


@pytest.mark.parametrize("config", ["vit-tiny-16", "resnet-18"])
def test_an_encoder_says_what_it_wants(config: str):
    encoder = encoders.build(config)
    good = torch.rand(1, 3, 64, 64)
    assert encoder(good).pooled.ndim == 2
    bad = [
        good[0],
        good[:, :1],
        torch.rand(1, 4, 64, 64),
        good.numpy(),
        good.to(torch.uint8),
        good.to("meta"),
        good.to_sparse(),
        None,
    ]
    for images in bad:
        with pytest.raises(BadInput, match="an encoder was given"):
            encoder(images)
    for images in (RGB[0, 0], "x", None, RGB, good, torch.empty(1, 4, 4, 3, dtype=torch.uint8, device="meta")):
        with pytest.raises(BadInput, match="images are"):
            encoder.prepare(images)


def test_load_says_what_it_wants():
    for name in (None, "", 3, b"x", np.zeros(3), ["resnet-nano"]):
        with pytest.raises(BadInput, match="no name of weights"):
            tapetum.load(name)
    for dtype in (torch.int8, "int8", "text", np.float32, torch.bool, torch.complex64, 16, torch.float8_e4m3fn):
        with pytest.raises(BadInput, match="weights cannot be"):
            tapetum.load("resnet-nano", dtype=dtype)
    assert next(tapetum.load("resnet-nano", dtype="bfloat16").parameters()).dtype == torch.bfloat16


def test_values_that_fit_are_taken():
    options = tapetum.app.track.track.TrackOptions(
        np.zeros((2, 8, 8, 3)), grid=np.int64(3), out=Path("a"), model=Path("b"), scale=1, frame=None, query=[(0, 1, 2)]
    )
    check_values(options)
