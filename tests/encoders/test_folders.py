"""Encoders by name, by OWNER/NAME and by folder give the vectors and logits of transformers and open_clip, words included."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from support import encoder_folders
from support.hub import serve
from tapetum.core.errors import BadInput
from tapetum.core.reading import sha256_of
from tapetum.encoders import save
from tapetum.encoders.towers import Towers

TEXTS = ["a photo of 2 cats", "Ein rotes Fahrrad", "猫がソファにいる", ""]


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    smooth = [rng.integers(0, 256, (6, 8, 3), np.uint8), rng.integers(0, 256, (9, 5, 3), np.uint8)]
    return [np.asarray(Image.fromarray(each).resize(size)) for each, size in zip(smooth, ((90, 60), (40, 77)), strict=True)]


def test_siglip_2_by_name_is_that_of_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import SiglipImageProcessor

    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    folder = tmp_path / "google--siglip2-base-patch32-256"
    theirs = encoder_folders.siglip2(folder)
    ours = tapetum.load("siglip2-base-32")
    assert isinstance(ours, Towers)
    assert isinstance(tapetum.load("google/siglip2-base-patch32-256"), Towers)
    pixels = SiglipImageProcessor.from_pretrained(folder)(images(), return_tensors="pt")["pixel_values"]
    prepared = ours.prepare(images())
    torch.testing.assert_close(prepared, pixels, atol=0.02, rtol=0)  # one level of 255
    ids = ours.tokenize(TEXTS)
    assert ids.shape == (4, 64)
    with torch.no_grad():
        found = theirs(pixel_values=prepared, input_ids=ids)
    np.testing.assert_allclose(ours.embed_images(images()), found.image_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours.embed_texts(TEXTS), found.text_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours.logits(images(), TEXTS), found.logits_per_image.numpy(), atol=1e-5)
    assert ours.embed_images([]).shape == (0, 32)
    assert ours.embed_texts([]).shape == (0, 32)


@pytest.mark.parametrize("quick", [False, True])
def test_clip_is_that_of_open_clip(tmp_path: Path, quick: bool) -> None:
    import open_clip

    theirs = encoder_folders.open_clip(tmp_path / "clip", quick=quick)
    ours = tapetum.load(tmp_path / "clip")
    mean, std = ((np.array(each) / 255).tolist() for each in (ours.preprocessing.mean, ours.preprocessing.std))
    transform = open_clip.image_transform(32, is_train=False, mean=tuple(mean), std=tuple(std))
    pixels = torch.stack([transform(Image.fromarray(each)) for each in images()])
    torch.testing.assert_close(ours.prepare(images()), pixels, atol=0.02, rtol=0)
    ids = ours.tokenize(TEXTS)
    with torch.no_grad():
        vectors = theirs.encode_image(ours.prepare(images()), normalize=True)
        texts = theirs.encode_text(ids, normalize=True)
    np.testing.assert_allclose(ours.embed_images(images()), vectors.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours.embed_texts(TEXTS), texts.numpy(), atol=1e-5)
    wanted = (theirs.logit_scale.exp() * vectors @ texts.T).detach().numpy()
    np.testing.assert_allclose(ours.logits(images(), TEXTS), wanted, atol=1e-4)


def test_a_file_of_ours_keeps_the_tokenizer(tmp_path: Path) -> None:
    for name, make in (("siglip2", encoder_folders.siglip2), ("clip", encoder_folders.open_clip)):
        make(tmp_path / name)
        ours = tapetum.load(tmp_path / name)
        save(ours, tmp_path / f"{name}.safetensors")
        again = tapetum.load(tmp_path / f"{name}.safetensors")
        np.testing.assert_array_equal(again.logits(images(), TEXTS), ours.logits(images(), TEXTS))
        sent = pickle.loads(pickle.dumps(again))
        np.testing.assert_array_equal(sent.embed_texts(TEXTS), ours.embed_texts(TEXTS))


def test_images_need_no_tokenizer_and_words_say_what_is_wrong_with_it(tmp_path: Path) -> None:
    encoder_folders.siglip2(tmp_path)
    model = (tmp_path / "tokenizer.model").read_bytes()
    for content, message in ((None, "there is no spiece.model or tokenizer.model"), (model[:99], "no SentencePiece model")):
        (tmp_path / "tokenizer.model").unlink()
        if content is not None:
            (tmp_path / "tokenizer.model").write_bytes(content)
        else:
            (tmp_path / "tokenizer.model").touch()
            (tmp_path / "tokenizer.model").rename(tmp_path / "other")
        ours = tapetum.load(tmp_path)
        assert ours.embed_images(images()).shape == (2, 32)
        with pytest.raises(BadInput, match=message):
            ours.embed_texts(["a cat"])
        (tmp_path / "tokenizer.model").touch()
    (tmp_path / "tokenizer.model").write_bytes(model)
    for texts in ("a cat", [3], ["x" * 200_000]):
        with pytest.raises(BadInput, match="text"):
            tapetum.load(tmp_path).embed_texts(texts)


def test_ids_that_the_text_encoder_does_not_know_are_refused(tmp_path: Path) -> None:
    encoder_folders.open_clip(tmp_path / "clip")
    ours = tapetum.load(tmp_path / "clip")
    known = ours.config.text.vocabulary
    assert ours.text_vectors(torch.tensor([[known - 1, 0]])).shape[0] == 1
    for ids in (torch.tensor([[known, 0]]), torch.tensor([[0, -1]]), torch.tensor([[0.0, 1.0]])):
        with pytest.raises(BadInput, match=f"knows the whole numbers 0 to {known - 1}; take the tokenizer of the same weights"):
            ours.text_vectors(ids)
    encode = ours.tokenizer._encode
    ours.tokenizer._encode = lambda text: [known + 5, *encode(text)]  # as a vocabulary with gaps does
    with pytest.raises(BadInput, match=f"to {known + 5}, and this text encoder knows"):
        ours.embed_texts(["a cat"])


def test_of_two_towers_the_one_for_images_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What learns from images, or on top of them, has no text tower in memory."""
    from tapetum.encoders import load
    from tapetum.encoders.vit import ViT
    from tapetum.systems.longvideo.weights import inflate_from
    from tapetum.systems.paligemma.task import adopted_encoder
    from tapetum.systems.pretraining.recipes import is_trained, trained_architecture

    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    encoder_folders.siglip2(tmp_path / "google--siglip2-base-patch32-256")
    encoder_folders.dinov2(tmp_path / "own--dino")
    both, alone = tapetum.load("siglip2-base-32"), load("siglip2-base-32", text=False)
    assert isinstance(alone, ViT)
    prepared = both.prepare(images())
    with torch.no_grad():
        torch.testing.assert_close(alone(prepared).pooled, both(prepared).pooled)
    assert is_trained("siglip2-base-32")
    assert is_trained("own/dino")
    assert not is_trained("dinov2-small")  # also the name of an architecture: weights:dinov2-small
    assert trained_architecture("google/siglip2-base-patch32-256", 48).family == "vit"
    assert adopted_encoder("siglip2-base-32", 64).config.grid == (4, 4)
    assert inflate_from("own/dino", "vivit-nano", tubelet=(2, 14, 14), size=(56, 56)).config.width == 32


def test_shards_and_preprocessing_of_a_repository(tmp_path: Path) -> None:
    from transformers import BitImageProcessor

    theirs = encoder_folders.dinov2(tmp_path, shards=True)
    assert not (tmp_path / "model.safetensors").exists()
    ours = tapetum.load(tmp_path)
    pixels = BitImageProcessor.from_pretrained(tmp_path)(images(), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(ours.prepare(images()), pixels, atol=0.02, rtol=0)
    with torch.no_grad():
        torch.testing.assert_close(
            ours.image_vectors(ours.prepare(images())), theirs(ours.prepare(images())).pooler_output, atol=1e-5, rtol=0
        )


def test_settings_that_give_no_vectors_are_refused(tmp_path: Path) -> None:
    encoder_folders.dinov2(tmp_path)
    nan, files = float("nan"), ("config.json", "preprocessor_config.json")
    kept = {name: (tmp_path / name).read_text() for name in files}
    for name, changes, message in (
        (files[0], {"layer_norm_eps": -1}, "norm_eps is -1; it must be 1e-30 to 1"),
        (files[0], {"layerscale_value": float("inf")}, "layer_scale is inf; it must be a finite number or None"),
        (files[0], {"patch_size": 0}, "patch_size is 0 in the config; it must be a number above 0"),
        (files[0], {"hidden_size": 1e308}, r"hidden_size is 1e\+308 in the config"),
        (files[0], {"num_attention_heads": 2.0}, "heads is 2.0; it must be a whole number"),
        (files[0], {"qkv_bias": "no"}, "qkv_bias is 'no'; it must be true or false"),
        (files[0], {"hidden_size": None}, "the config, or a tensor, is not as huggingface has it .TypeError"),
        (files[1], {"image_mean": [0.5, nan, 0.5]}, r"mean is .127.5, nan, 127.5.; it must be 3 values, each a finite"),
        (files[1], {"image_std": [1e-320] * 3}, "std is .* it must be 0.001 to 1,000,000"),
        (files[1], {"crop_size": {"height": 60_000, "width": 60_000}, "size": {"shortest_edge": 60_000}}, "1 to 4,096"),
        (files[1], {"size": {"shortest_edge": 0}}, "crops .* of images whose shorter side is 0"),
    ):
        (tmp_path / name).write_text(json.dumps(json.loads(kept[name]) | changes))
        with pytest.raises(BadInput, match=message) as caught:
            tapetum.load(tmp_path)
        assert str(tmp_path) in str(caught.value), changes
        assert "\n" not in str(caught.value), changes
        (tmp_path / name).write_text(kept[name])
    encoder = tapetum.load(tmp_path)
    with pytest.raises(BadInput, match="an image of 60000 x 2 would be scaled to 1,920,000 x 64; give one of another shape"):
        encoder.prepare(np.zeros((1, 2, 60_000, 3), np.uint8))
    with torch.no_grad():
        encoder.norm.weight.fill_(3e38)  # which is finite, and what comes of it is not
    save(encoder, tmp_path / "huge.safetensors")
    Image.fromarray(images()[0]).save(tmp_path / "a.png")
    for call in (tapetum.embed, tapetum.discover):
        with pytest.raises(BadInput, match="not finite"):
            call(tmp_path / "a.png", model=str(tmp_path / "huge.safetensors"), out=tmp_path / "table.npz")
    assert not (tmp_path / "table.npz").exists()


@pytest.mark.parametrize("kind", ["int8", "bool", "complex64", "float8_e4m3fn", "qint8", "sparse_coo", "strided"])
def test_weights_that_are_no_floats_are_refused(kind: str, tmp_path: Path) -> None:
    theirs = encoder_folders.dinov2(tmp_path)
    state, name = theirs.state_dict(), "encoder.layer.0.mlp.fc1.weight"
    if kind == "qint8":
        state[name] = torch.quantize_per_tensor(state[name], 0.1, 0, torch.qint8)
    elif kind == "sparse_coo":
        state[name] = state[name].to_sparse()
    elif kind == "strided":
        state[name] = torch.zeros(1, 1).expand(state[name].shape)
    else:
        state[name] = state[name].to(getattr(torch, kind))
    (tmp_path / "model.safetensors").unlink()
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(BadInput, match=rf"{name}'? .*{'number of its storage' if kind == 'strided' else kind}"):
        tapetum.load(tmp_path)
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        torch.save({key: value.to(dtype) for key, value in theirs.state_dict().items()}, tmp_path / "pytorch_model.bin")
        assert next(tapetum.load(tmp_path).parameters()).dtype == torch.float32


def test_weights_are_checked(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the sums of the files."""
    monkeypatch.setenv("TAPETUM_WEIGHTS", str(tmp_path))
    folder = tmp_path / "google--siglip-base-patch16-224"
    encoder_folders.siglip2(folder)
    sums = {path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in folder.iterdir()}
    code, out, err = run("weights", "check", "siglip-base-16")
    assert code == 0, err
    assert "no sums are known" in out
    record = {"repository": "google/siglip-base-patch16-224", "revision": "abc", "licence": "apache-2.0", "files": sums}
    (folder / "tapetum.json").write_text(json.dumps(record))
    code, out, err = run("weights", "check", "siglip-base-16", "--json")
    assert code == 0, err
    checked = json.loads(out)
    assert (checked["files"], checked["revision"]) == (len(sums), "abc")
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    code, _, err = run("weights", "check", "siglip-base-16")
    assert (code, err.count("\n")) == (2, 1)
    assert "config.json has changed since it was fetched" in err


@pytest.mark.slow
def test_fetched_from_a_hub_by_the_command_and_used_by_name(tmp_path: Path) -> None:
    """What a user does: fetch by name, embed photos, and see that a second fetch asks nobody."""
    repository, weights = tmp_path / "repository", tmp_path / "weights"
    theirs = encoder_folders.siglip2(repository)
    (repository / "README.md").write_text("no")
    Image.fromarray(images()[0]).save(tmp_path / "a.png")

    def tapetum_command(*arguments: str) -> subprocess.CompletedProcess[str]:
        code = "import sys; from tapetum.app.shell.main import main; raise SystemExit(main(sys.argv[1:]))"
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)

    with serve({"google/siglip2-base-patch32-256": repository}, about={"tags": ["license:apache-2.0"]}) as variables:
        environment = os.environ | variables | {"TAPETUM_WEIGHTS": str(weights), "HF_HOME": str(tmp_path / "home")}
        done = tapetum_command("weights", "fetch", "siglip2-base-32")
        assert done.returncode == 0, done.stderr
        assert "licence apache-2.0" in done.stderr
    done = tapetum_command("weights", "fetch", "google/siglip2-base-patch32-256")
    assert done.returncode == 0, done.stderr
    done = tapetum_command("embed", "a.png", "--model", "siglip2-base-32", "--dtype", "float32", "--out", "table.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "table.npz") as table, torch.no_grad():
        ours = tapetum.load(weights / "google--siglip2-base-patch32-256")
        wanted = theirs.get_image_features(pixel_values=ours.prepare([images()[0]])).pooler_output
        wanted = torch.nn.functional.normalize(wanted, dim=-1)
        np.testing.assert_allclose(table["embedding"], wanted.numpy(), atol=1e-5)
    done = tapetum_command("embed", "a.png", "--model", "dinov2-small", "--out", "other.npz")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "run: tapetum weights fetch dinov2-small (88 MB, licence Apache-2.0; or put the repository's files" in done.stderr
