"""SigLIP 2 NaFlex: the size in patches, preparation, and the same numbers as transformers for images of any shape."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from transformers.models.siglip2.image_processing_siglip2 import get_image_size_for_max_num_patches

import tapetum
from support.hub_folders import shaken, write_sparse_folder
from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.architectures import as_json, from_json, preprocessing_as_json
from tapetum.encoders.config import Preprocessing, size_in_patches, squashed
from tapetum.encoders.embed import EmbeddedPiece, EncoderEmbedder
from tapetum.encoders.factory import describe, make
from tapetum.encoders.folders import of_processor
from tapetum.encoders.towers import Towers
from tapetum.encoders.towers_config import NAMED, naflex
from tapetum.layers.patches import to_patches
from tapetum.transfer.probing import features_of

transformers.logging.set_verbosity_error()

VISION = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "patch_size": 8}
VISION |= {"num_patches": 16}
TEXT = {"hidden_size": 36, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 50}
TEXT |= {"max_position_embeddings": 9, "projection_size": 32}
SHAPES = [(32, 32), (16, 64), (24, 40), (8, 8), (8, 120)]
IDS = torch.tensor([[4, 9, 49, 1, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
TINY = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 24, "patch": 8, "image_size": (32, 32)}


def theirs_of(**vision):
    config = transformers.Siglip2Config(vision_config=VISION | vision, text_config=TEXT)
    return shaken(transformers.Siglip2Model(config))


def images(*shapes):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 3, *shape, generator=generator) for shape in shapes]


def padded(given, most=16):
    """Images of several shapes as transformers takes them: one batch of patches, padded, and a mask."""
    pixels, mask = torch.zeros(len(given), most, 192), torch.zeros(len(given), most, dtype=torch.long)
    shapes = torch.tensor([[image.shape[2] // 8, image.shape[3] // 8] for image in given])
    for row, image in enumerate(given):
        patches = to_patches(image, 8)[0]
        pixels[row, : len(patches)], mask[row, : len(patches)] = patches, 1
    return {"pixel_values": pixels, "pixel_attention_mask": mask, "spatial_shapes": shapes}


@pytest.mark.parametrize(
    ("rows", "columns", "patches", "want"),
    [
        (480, 640, 256, (224, 288)),
        (480, 640, 1024, (432, 576)),
        (1080, 1920, 256, (192, 336)),
        (100, 2000, 256, (64, 1024)),
        (1, 5000, 4, (16, 64)),
        (3, 3, 256, (256, 256)),
    ],
)
def test_the_size_of_an_image_in_patches(rows, columns, patches, want):
    assert size_in_patches(rows, columns, patches, 16) == want


def test_sizes_are_those_of_transformers():
    draw = random.Random(0)
    for _ in range(300):
        rows, columns = draw.randint(1, 3000), draw.randint(1, 3000)
        patch, patches = draw.choice([14, 16, 32]), draw.choice([1, 4, 64, 256, 784, 1024])
        got = size_in_patches(rows, columns, patches, patch)
        assert got == get_image_size_for_max_num_patches(rows, columns, patch, patches)
        assert got[0] * got[1] <= patches * patch**2


def test_preprocessing_in_patches_and_its_header():
    how = naflex(1024, 16)
    assert how.size == (512, 512)
    assert how.resized(480, 640) == how.prepared(480, 640) == (432, 576)
    assert squashed(32).prepared(480, 640) == (32, 32)
    usual = preprocessing_as_json(squashed(32))
    assert usual.keys().isdisjoint({"patches", "patch", "crop_offset"})  # as headers of earlier releases
    assert Preprocessing(**usual) == squashed(32)
    assert Preprocessing(**json.loads(json.dumps(preprocessing_as_json(how)), object_hook=tuples)) == how
    for wrong in ({"patches": 0}, {"patch": 0}):
        with pytest.raises(BadInput, match="it must be 1 to 4,096"):
            replace(how, **wrong)


def tuples(content):
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


@pytest.mark.parametrize("shape", [(33, 41), (200, 64), (20, 300)])
def test_images_are_prepared_as_by_transformers(shape, tmp_path):
    theirs = transformers.Siglip2ImageProcessor(max_num_patches=20, patch_size=8)
    theirs.save_pretrained(tmp_path)
    content = json.loads((tmp_path / "preprocessor_config.json").read_text())
    empty = dict.fromkeys(("size", "crop_size", "do_center_crop", "do_rescale", "data_format"))  # as fast processors wrote
    how = of_processor(content | {"image_processor_type": "Siglip2ImageProcessorFast"} | empty)
    assert how == replace(naflex(20, 8), crop_offset="down")
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    pixels = np.stack([rows * 255 / shape[0], columns * 255 / shape[1], (rows * 3 + columns) % 255], -1).astype(np.uint8)
    want = theirs(Image.fromarray(pixels), return_tensors="pt")
    got = encoders.features.prepare(np.stack([pixels, 255 - pixels]), how)
    assert got.shape == (2, 3, *how.resized(*shape))
    assert tuple(want["spatial_shapes"][0]) == (got.shape[2] // 8, got.shape[3] // 8)
    patches = to_patches(got[:1], 8)[0]
    assert (patches - want["pixel_values"][0][: len(patches)]).abs().max() <= 1.01 / 127.5  # a level, rounded otherwise


@torch.no_grad()
def test_a_folder_gives_the_logits_of_transformers(tmp_path):
    theirs = theirs_of()
    processor = transformers.Siglip2ImageProcessor(max_num_patches=64, patch_size=8)
    ours = tapetum.load(write_sparse_folder(theirs, tmp_path, processor))
    assert isinstance(ours, Towers)
    assert ours.preprocessing == replace(naflex(64, 8), crop_offset="down")
    given = images(*SHAPES)
    want = theirs(input_ids=IDS, **padded(given))
    got = torch.cat([ours.compare(image, IDS) for image in given])
    torch.testing.assert_close(got, want.logits_per_image, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.text_vectors(IDS), want.text_embeds, atol=1e-5, rtol=0)
    seen = want.vision_model_output
    for row, image in enumerate(given):
        found = ours(image)
        assert found.grid == (image.shape[2] // 8, image.shape[3] // 8)
        torch.testing.assert_close(found.tokens[0], seen.last_hidden_state[row, : found.tokens.shape[1]], atol=1e-5, rtol=0)
        torch.testing.assert_close(found.pooled[0], seen.pooler_output[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("head", [True, False])
@torch.no_grad()
def test_an_image_tower_by_itself(head):
    config = transformers.Siglip2VisionConfig(**VISION, vision_use_head=head)
    theirs = shaken(transformers.Siglip2VisionModel(config))
    ours = encoders.from_state(theirs.state_dict(), "huggingface", config.to_dict())
    given = images((24, 40))
    want = theirs(**padded(given))
    torch.testing.assert_close(ours(given[0]).tokens[0], want.last_hidden_state[0, :15], atol=1e-5, rtol=0)
    if head:
        torch.testing.assert_close(ours(given[0]).pooled, want.pooler_output, atol=1e-5, rtol=0)
    back = encoders.to_state(ours, "huggingface")
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(back[key], value) for key, value in theirs.state_dict().items())


def test_weights_go_back_and_what_does_not_fit_is_named():
    theirs = theirs_of()
    state, config = theirs.state_dict(), theirs.config.to_dict()
    ours = encoders.from_state(state, "huggingface", config)
    assert ours.preprocessing == naflex(16, 8)
    back = encoders.to_state(ours, "huggingface")
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], value) for key, value in state.items())
    patches = "vision_model.embeddings.patch_embedding.weight"
    for changes, vision, text in (
        ({patches: torch.zeros(32, 100)}, {}, "patch_embedding.weight is .32, 100. where the config wants .32, 192."),
        ({patches: torch.zeros(31, 192)}, {}, "patch_embedding.weight is"),
        ({}, {"num_patches": 15}, "positions for 15 patches, which are no square grid"),
        ({}, {"patch_size": [8, 8]}, "16 patches of .8, 8. pixels"),
    ):
        wrong = config | {"vision_config": config["vision_config"] | vision}
        with pytest.raises(BadInput, match=text) as caught:
            encoders.from_state(state | changes, "huggingface", wrong)
        assert "\n" not in str(caught.value)


@torch.no_grad()
def test_images_of_several_shapes_are_embedded_together_in_order():
    config = transformers.Siglip2VisionConfig(**VISION)
    ours = encoders.from_state(shaken(transformers.Siglip2VisionModel(config)).state_dict(), "huggingface", config.to_dict())
    embedder = EncoderEmbedder(ours)
    frames = [np.full((*shape, 3), 40 * k, np.uint8) for k, shape in enumerate([(30, 90), (60, 60), (31, 93), (90, 30)])]
    pieces = [EmbeddedPiece(str(k), None, None, {"image": embedder.prepare(frame)}) for k, frame in enumerate(frames)]
    assert len({piece.inputs["image"].shape for piece in pieces}) == 3
    vectors = embedder.embed(pieces)
    for vector, frame in zip(vectors, frames, strict=True):
        np.testing.assert_allclose(vector, ours(ours.prepare(frame[None])).pooled[0], atol=1e-5)
    np.testing.assert_allclose(features_of(ours, frames, batch_size=3), vectors, atol=1e-5)
    with pytest.raises(BadInput, match="more tokens for some shapes"):
        features_of(ours, frames, tokens=True)
    with pytest.raises(BadInput, match="prepared to 3 sizes"):
        ours.prepare(frames)
    both = tiny("siglip2-base-16-naflex")
    want = torch.cat([both.image_vectors(both.prepare(frame[None])) for frame in frames])
    np.testing.assert_allclose(both.embed_images(frames), want, atol=1e-5)
    np.testing.assert_allclose(EncoderEmbedder(both).embed(pieces), want, atol=1e-5)


def tiny(name):
    found = NAMED[name]
    text = replace(found.config.text, width=16, depth=2, heads=2, mlp_width=24, vocabulary=30, length=7, projection=16)
    config = replace(found.config, image=replace(found.config.image, **TINY), text=text)
    return make(replace(found, config=config, preprocessing=naflex(16, 8)))


@torch.no_grad()
def test_files_precision_and_adapters(tmp_path):
    both = tiny("siglip2-base-16-naflex")
    encoders.save(both, tmp_path / "a.safetensors")
    again = encoders.load(tmp_path / "a.safetensors")
    assert (again.config, again.preprocessing) == (both.config, both.preprocessing)
    assert from_json(json.loads(json.dumps(as_json(describe(both))))) == describe(both)
    prepared = again.prepare(np.zeros((1, 30, 90, 3), np.uint8))
    ids = torch.randint(0, 30, (2, 7))
    torch.testing.assert_close(again.compare(prepared, ids), both.compare(prepared, ids))
    half = encoders.load(tmp_path / "a.safetensors", dtype=torch.bfloat16)
    small = half(prepared)
    assert small.pooled.dtype == torch.bfloat16
    assert torch.cosine_similarity(small.pooled.float(), both(prepared).pooled).min() > 0.99
    called = []
    for address in again.adapter_addresses():
        again.get_submodule(address).register_forward_hook(lambda m, i, o, a=address: called.append((a, o.shape[1])))
    again(prepared)
    cells = prepared.shape[2] * prepared.shape[3] // 64
    assert called == [(address, cells) for address in again.adapter_addresses()]
    assert len(called) == 4


def test_a_changed_size_changes_the_patches():
    how = naflex(16, 8)
    base = encoders.from_state(
        transformers.Siglip2VisionModel(transformers.Siglip2VisionConfig(**VISION)).state_dict(),
        "huggingface",
        transformers.Siglip2VisionConfig(**VISION).to_dict(),
    )
    assert encoders.architectures.changed(describe(base), {"depth": 1}).preprocessing == how
    assert encoders.architectures.changed(describe(base), {"image_size": (64, 64)}).preprocessing == naflex(64, 8)
    assert encoders.architectures.changed(describe(base), {"patch": 4}).preprocessing == replace(how, patch=4, patches=64)
