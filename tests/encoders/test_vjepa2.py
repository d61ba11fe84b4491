"""V-JEPA 2: the same tokens as transformers for videos of any length, and vectors of images and of pieces of videos."""

import json
import wave
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import tapetum
from support.hub_folders import shaken, write_sparse_folder
from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.vit_sizes import VJEPA2S, clips
from tapetum.encoders.vjepa2 import VJEPA2, video_rotation
from tapetum.video import open_video, write_video

transformers.logging.set_verbosity_error()

SIZES = {"patch_size": 8, "crop_size": 32, "frames_per_clip": 8, "hidden_size": 64, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 2, "mlp_ratio": 48 / 11, "pred_hidden_size": 12, "pred_num_attention_heads": 1}
SIZES |= {"pred_num_hidden_layers": 1}


@pytest.fixture(scope="module")
def theirs():
    return shaken(transformers.VJEPA2Model(transformers.VJEPA2Config(**SIZES)))


@pytest.fixture(scope="module")
def ours(theirs):
    return encoders.from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())


def videos(frames, side=32):
    return torch.randn(2, frames, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [1, 2, 8, 14])
@torch.no_grad()
def test_tokens_are_those_of_transformers(theirs, ours, frames):
    x = videos(frames)
    want = theirs(pixel_values_videos=x, skip_predictor=True).last_hidden_state
    got = ours.watch(x)
    torch.testing.assert_close(got.tokens, want, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.pooled, want.mean(1), atol=1e-5, rtol=0)
    assert got.grid == ((frames + 1) // 2, 4, 4)


@pytest.mark.parametrize("head_width", [32, 64, 80])
def test_the_rotation_is_that_of_transformers(head_width):
    """By transformers' function, for each axis by itself; channels beyond three even parts are left alone."""
    from transformers.models.vjepa2.modeling_vjepa2 import rotate_queries_or_keys

    x, part = torch.randn(1, 2, 24, head_width), 2 * (head_width // 3 // 2)
    places = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(4))
    want = [rotate_queries_or_keys(x[..., i * part : (i + 1) * part], places[:, i].float()) for i in range(3)]
    want.append(x[..., 3 * part :])
    torch.testing.assert_close(video_rotation((2, 3, 4), head_width).apply(x), torch.cat(want, -1), atol=1e-6, rtol=0)


@torch.no_grad()
def test_an_image_is_a_video_of_one_frame(ours):
    x = videos(1)[:, 0]
    found = ours(x)
    torch.testing.assert_close(found.tokens, ours.watch(torch.stack((x, x), 1)).tokens)
    assert found.grid == (4, 4)
    assert torch.equal(found.maps[0].flatten(2).mT, found.tokens)
    wide = ours(torch.cat((x, x), -1))
    assert wide.grid == (4, 8)


def test_weights_go_back_and_what_does_not_fit_is_named(theirs, ours):
    state, config = theirs.state_dict(), theirs.config.to_dict()
    back = encoders.to_state(ours, "huggingface")
    assert back.keys() == {key for key in state if not key.startswith("predictor.")}
    assert all(torch.equal(value, state[key]) for key, value in back.items())
    assert isinstance(ours, VJEPA2)
    for changes, settings, text in (
        ({"pooler.query_tokens": torch.zeros(1)}, {}, "classifier of videos, which tapetum has not"),
        ({}, {"hidden_act": "relu"}, "has not GELU"),
        ({}, {"num_attention_heads": 32}, "into 6 or more channels"),
        ({"encoder.layernorm.bias": torch.zeros(63)}, {}, "encoder.layernorm.bias is .63,. where"),
    ):
        with pytest.raises(BadInput, match=text) as caught:
            encoders.from_state(state | changes, "huggingface", config | settings)
        assert "\n" not in str(caught.value)
    for wrong, text in (
        (videos(3), "tubelets? of 2x8x8|patches of 2x8x8 do not divide 3x32x32"),
        (videos(2)[:, :, :, :30], "do not divide"),
        (videos(2)[0], "videos are .2, 3, 32, 32.; give floats"),
        (None, "videos are NoneType"),
    ):
        with pytest.raises(BadInput, match=text):
            ours.watch(wrong)
    with pytest.raises(BadInput, match="do not divide 7 frames"):
        replace(ours.config, frames=7)


@torch.no_grad()
def test_a_folder_and_vectors_of_films(theirs, ours, tmp_path):
    processor = transformers.VJEPA2VideoProcessor(crop_size=32, image_std=[0.2, 0.3, 0.4])
    loaded = tapetum.load(write_sparse_folder(theirs, tmp_path / "folder", processor))
    content = json.loads((tmp_path / "folder" / "video_preprocessor_config.json").read_text())
    assert content["size"] == {"shortest_edge": 36}
    assert loaded.preprocessing.resized(72, 99) == clips(32).resized(72, 99) == (36, 49)
    assert loaded.preprocessing.std == pytest.approx((51.0, 76.5, 102.0))
    assert ours.preprocessing.interpolation == loaded.preprocessing.interpolation == "bilinear"
    assert ours.preprocessing.mean == pytest.approx(loaded.preprocessing.mean)
    frames = np.random.default_rng(0).integers(0, 255, (26, 40, 48, 3), dtype=np.uint8)  # of 2.6 s, and pieces are of 2 s
    embedder = loaded.embedder()
    pieces = list(embedder.pieces(open_video(frames, frame_rate=10.0)))
    assert [(piece.start, piece.stop) for piece in pieces] == [(0.0, 2.0), (2.0, pytest.approx(2.6))]
    vectors = embedder.embed(pieces)
    for vector, numbers in zip(vectors, ([0, 2, 5, 7, 10, 12, 15, 17], [20, 22, 25, 25]), strict=True):
        want = loaded.watch(loaded.prepare(frames[numbers])[None]).pooled[0]
        np.testing.assert_allclose(vector, want, atol=1e-5)
    Image.fromarray(frames[0]).save(tmp_path / "a.png")
    (piece,) = embedder.pieces(tmp_path / "a.png")
    assert (piece.start, piece.stop, tuple(piece.inputs)) == (None, None, ("image",))
    np.testing.assert_allclose(embedder.embed([piece, piece])[1], loaded(loaded.prepare(frames[:1])).pooled[0], atol=1e-5)
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        sound.writeframes(bytes(16_000))
    with pytest.raises(BadInput, match=r"a\.wav is a recording, and the network knows only images and videos"):
        next(embedder.pieces(tmp_path / "a.wav"))
    clip = write_video(tmp_path / "clip.mp4", frames, 10)
    assert [piece.stop for piece in embedder.pieces(clip)] == [2.0, pytest.approx(2.6)]


@torch.no_grad()
def test_files_precision_classes_and_adapters(ours, tmp_path):
    encoders.save(ours, tmp_path / "a.safetensors")
    again, x = encoders.load(tmp_path / "a.safetensors"), videos(4)
    assert (again.config, again.preprocessing) == (ours.config, ours.preprocessing)
    assert torch.equal(again.watch(x).tokens, ours.watch(x).tokens)
    half = encoders.load(tmp_path / "a.safetensors", dtype=torch.bfloat16).watch(x)
    assert half.tokens.dtype == torch.bfloat16
    assert torch.cosine_similarity(half.pooled.float(), ours.watch(x).pooled).min() > 0.99
    addresses = again.adapter_addresses()
    assert [type(again.get_submodule(name)).__name__ for name in addresses] == ["Attention", "Mlp"] * 2
    built = encoders.build("vjepa2-large", width=24, depth=1, heads=2, mlp_width=16, classes=3, image_size=(64, 48))
    assert built.preprocessing == replace(clips(64), size=(64, 48))
    assert built.classify(built.prepare(np.zeros((1, 90, 80, 3), np.uint8))).shape == (1, 3)
    with pytest.raises(BadInput, match="huggingface has no network"):
        encoders.to_state(built, "huggingface")


def test_gradient_reaches_every_parameter():
    small = {"width": 24, "depth": 2, "heads": 2, "mlp_width": 16, "patch": 8, "image_size": (32, 32), "classes": 3}
    encoder = encoders.build("vjepa2-large", **small).train()
    encoder.classify(videos(1)[:, 0]).square().sum().backward()
    quiet = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in quiet if not name.endswith("key.bias")] == []
    assert all(found.config.width // found.config.heads in (64, 80) for found in VJEPA2S.values())
