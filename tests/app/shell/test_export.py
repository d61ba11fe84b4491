"""`tapetum export` as a user types it."""

import json
from pathlib import Path

import pytest
import torch

from support.networks import save_tapir
from tapetum.encoders import build, save


@pytest.fixture
def model(tmp_path: Path) -> str:
    small = save_tapir(tmp_path / "small.safetensors", causal=True, initial_resolution=(32, 32), iterations=1, mixer_blocks=1)
    return str(small)


@pytest.mark.slow
def test_a_clip_has_the_frames_and_points_that_were_given(run, model, tmp_path):
    out = tmp_path / "clip.pt2"
    code, said, _ = run("export", model, str(out), "--size", "48x40", "--frames", "3", "--points", "2", "--json")
    assert code == 0
    (entry,) = json.loads(said)["programs"]
    assert entry["inputs"] == {"video": [1, 3, 40, 48, 3], "queries": [1, 2, 3]}
    tracks, _, _ = torch.export.load(out).module()(torch.zeros(1, 3, 40, 48, 3), torch.zeros(1, 2, 3))
    assert tracks.shape == (1, 2, 3, 2)


@pytest.mark.slow
def test_the_program_of_a_stream_takes_any_number_of_points(run, model, tmp_path):
    code, said, _ = run("export", model, str(tmp_path / "live.pt2"), "--size", "48x40", "--program", "live")
    assert code == 0
    assert "live.pt2: frame 40x48x3, query_xy nx2, features nx104, state n" in said
    live = torch.export.load(tmp_path / "live.pt2").module()
    for points in (1, 3):
        features, state = torch.zeros(points, 104), torch.zeros(points, 2, 1, 2, 48)
        xy, confidence, *_ = live(torch.zeros(40, 48, 3, dtype=torch.uint8), torch.full((points, 2), 8.0), features, state)
        assert (xy.shape, confidence.shape) == ((points, 2), (points,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tapir-nano", "a.txt"], "give .onnx, or .pt2"),
        (["tapir-nano", "a.onnx", "--size", "big"], "--size is 'big'"),
        (["tapir-nano", "a.onnx", "--program", "live"], "causal one"),
        (["paligemma-nano-2", "a.onnx"], "paligemma-nano-2 is neither a tracker nor an encoder"),
    ],
)
def test_what_cannot_be_exported(run, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("export", *arguments)
    assert code == 2
    assert not out
    assert message in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_encoder_in_onnx_gives_its_vectors(run, tmp_path):
    """As a run of `pretrain dinov2` leaves one: registers, LayerScale, gated MLPs."""
    onnxruntime = pytest.importorskip("onnxruntime")
    dinov2 = {"registers": 2, "layer_scale": 0.1, "mlp": "gated", "activation": "silu", "mlp_width": 64}
    encoder = build("vit-tiny-16", seed=1, depth=2, patch=8, image_size=(32, 32), **dinov2)
    save(encoder, tmp_path / "encoder.safetensors")
    code, said, errors = run("export", tmp_path / "encoder.safetensors", tmp_path / "e.onnx", "--size", "32x32")
    assert code == 0, errors
    assert "images 1x3x32x32 -> pooled, tokens" in said
    session = onnxruntime.InferenceSession(tmp_path / "e.onnx")
    image = torch.randn(1, 3, 32, 32)
    found = session.run(None, {"images": image.numpy()})
    with torch.no_grad():
        features = encoder(image)
    for one, other in zip(found, (features.pooled, features.tokens), strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other, rtol=1e-5, atol=1e-5)
