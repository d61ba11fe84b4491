"""Networks that transformers and timm compute: SigLIP 2 NaFlex, TIPSv2, V-JEPA 2, Perception Encoder and Swin, as encoders."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file

import tapetum
from support.hub_folders import shaken, write_sparse_folder
from tapetum import encoders
from tapetum.core.errors import BadInput
from tapetum.encoders.config import naflex, tipsv2
from tapetum.encoders.embed import EmbeddedPiece, EncoderEmbedder
from tapetum.encoders.tables import open_clip
from tapetum.encoders.tables.rows import to_official
from tapetum.encoders.towers import Towers
from tapetum.encoders.towers_config import CLIP_TEXT
from tapetum.layers.patches import to_patches
from tapetum.video import open_video

transformers.logging.set_verbosity_error()

IDS = torch.tensor([[4, 9, 49, 1, 0, 0, 0, 0, 0], [1, 2, 3, 4, 5, 6, 7, 8, 9]])
TEXT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 50}
TEXT |= {"max_position_embeddings": 9}
NAFLEX = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48, "patch_size": 8}
NAFLEX |= {"num_patches": 16}
TIPSV2 = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 100 / 32, "patch_size": 7}
TIPSV2 |= {"image_size": 28}


def images(*shapes):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 3, *shape, generator=generator) for shape in shapes]


@torch.no_grad()
def test_naflex_from_a_folder(tmp_path):
    config = transformers.Siglip2Config(vision_config=NAFLEX, text_config=TEXT | {"projection_size": 32})
    theirs = shaken(transformers.Siglip2Model(config))
    ours = tapetum.load(
        write_sparse_folder(theirs, tmp_path, transformers.Siglip2ImageProcessor(max_num_patches=64, patch_size=8))
    )
    assert isinstance(ours, Towers)
    assert ours.preprocessing == replace(naflex(64, 8), crop_offset="down")
    for image in images((32, 32), (16, 64), (24, 40), (8, 8)):
        patches = to_patches(image, 8)
        grid = torch.tensor([[image.shape[2] // 8, image.shape[3] // 8]])
        mask = torch.ones(1, patches.shape[1], dtype=torch.long)
        want = theirs(input_ids=IDS, pixel_values=patches, pixel_attention_mask=mask, spatial_shapes=grid)
        torch.testing.assert_close(ours.compare(image, IDS), want.logits_per_image, atol=1e-5, rtol=0)
        assert ours(image).grid == tuple(grid[0])
    encoders.save(ours, tmp_path / "a.safetensors")
    again = encoders.load(tmp_path / "a.safetensors")
    assert (again.config, again.preprocessing) == (ours.config, ours.preprocessing)
    assert torch.equal(again.compare(image, IDS), ours.compare(image, IDS))
    frames = [np.full((*shape, 3), 40 * k, np.uint8) for k, shape in enumerate([(30, 90), (60, 60), (31, 93)])]
    embedder = EncoderEmbedder(again)
    pieces = [EmbeddedPiece(str(k), None, None, {"image": embedder.prepare(frame)}) for k, frame in enumerate(frames)]
    want = torch.cat([again.image_vectors(again.prepare(frame[None])) for frame in frames])
    np.testing.assert_allclose(embedder.embed(pieces), want, atol=1e-5)
    np.testing.assert_allclose(again.embed_images(frames), want, atol=1e-5)
    content = json.loads((tmp_path / "config.json").read_text())
    for vision, text in (
        ({"num_patches": 15}, "15 patches of 8"),
        ({"hidden_act": "evil/kernel"}, "activation of this config"),
    ):
        content["vision_config"] |= vision
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(BadInput, match=text):
            tapetum.load(tmp_path)
        content["vision_config"]["num_patches"] = 16


@torch.no_grad()
def test_an_image_tower_of_naflex_by_itself():
    theirs = shaken(transformers.Siglip2VisionModel(transformers.Siglip2VisionConfig(**NAFLEX)))
    ours = encoders.from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())
    (image,) = images((24, 40))
    mask = torch.ones(1, 15, dtype=torch.long)
    want = theirs(pixel_values=to_patches(image, 8), pixel_attention_mask=mask, spatial_shapes=torch.tensor([[3, 5]]))
    torch.testing.assert_close(ours(image).tokens, want.last_hidden_state, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours(image).pooled, want.pooler_output, atol=1e-5, rtol=0)
    assert ours.preprocessing == naflex(16, 8)


@pytest.mark.parametrize("giant", [False, True])
@torch.no_grad()
def test_tipsv2_from_names_in_memory_and_in_files(giant, tmp_path):
    vision = TIPSV2 | ({"use_swiglu_ffn": True, "mlp_ratio": 2} if giant else {})
    theirs = shaken(transformers.Tipsv2Model(transformers.Tipsv2Config(vision_config=vision, text_config=TEXT)))
    ours = encoders.from_state(theirs.state_dict(), "huggingface", theirs.config.to_dict())
    folder = write_sparse_folder(theirs, tmp_path, transformers.Tipsv2ImageProcessor(size={"height": 35, "width": 35}))
    again = tapetum.load(folder)
    assert isinstance(ours, Towers)
    assert all(
        torch.equal(one, other) for one, other in zip(ours.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert (ours.preprocessing, again.preprocessing) == (tipsv2(28), replace(tipsv2(35), crop_offset="down"))
    for image in images((28, 28), (14, 49)):
        want = theirs(input_ids=IDS, pixel_values=image, attention_mask=(IDS != 0).long())
        torch.testing.assert_close(again.compare(image, IDS) / 197.4, want.logits_per_image / 197.4, atol=1e-6, rtol=0)
        torch.testing.assert_close(again.text_vectors(IDS), want.text_embeds, atol=1e-6, rtol=0)
        assert again(image).grid == (image.shape[2] // 7, image.shape[3] // 7)
    published = {name: each for name, each in load_file(folder / "model.safetensors").items() if name != "temperature"}
    config = json.loads((folder / "config.json").read_text())
    warm = encoders.from_state(published, "huggingface", config | {"temperature_init_value": 0.5})
    torch.testing.assert_close(warm.logit_scale.exp(), torch.tensor(2.0))  # pyright: ignore[reportAttributeAccessIssue]
    large = {**config, "vision_config": vision | {"num_hidden_layers": 40}}
    for state, settings, text in (
        (published, {"text_config": TEXT | {"hidden_act": "gelu"}}, "has 'gelu'; tapetum has TIPSv2 with relu"),
        (published | {"text_encoder.extra": torch.zeros(1)}, {}, "extra of these weights of TIPSv2 is missing or unknown"),
        (published, large, "asks for more numbers than the weights have"),
        (theirs.state_dict() | {"extra": torch.zeros(1)}, {}, "no extra"),
    ):
        with pytest.raises(BadInput, match=text) as caught:
            encoders.from_state(state, "huggingface", config | settings)
        assert "\n" not in str(caught.value)


@torch.no_grad()
def test_vjepa2_watches_videos_and_looks_at_images(tmp_path):
    sizes = {"patch_size": 8, "crop_size": 32, "frames_per_clip": 8, "hidden_size": 64, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 2, "pred_hidden_size": 12, "pred_num_attention_heads": 1, "pred_num_hidden_layers": 1}
    theirs = shaken(transformers.VJEPA2Model(transformers.VJEPA2Config(**sizes)))
    ours = tapetum.load(write_sparse_folder(theirs, tmp_path / "a", transformers.VJEPA2VideoProcessor(crop_size=32)))
    assert ours.preprocessing.resized(72, 99) == (36, 49)
    videos = torch.randn(2, 8, 3, 32, 32)
    want = theirs(pixel_values_videos=videos, skip_predictor=True).last_hidden_state
    torch.testing.assert_close(ours.watch(videos), want, atol=1e-5, rtol=0)
    assert ours(videos[:, 0]).grid == (4, 4)
    torch.testing.assert_close(ours(videos[:, 0]).tokens, ours.watch(videos[:, :1]))
    for wrong, text in ((videos[:, :3], "tubelets of 2 frames"), (videos[0], "give floats"), (None, "videos are NoneType")):
        with pytest.raises(BadInput, match=text):
            ours.watch(wrong)
    frames = np.random.default_rng(0).integers(0, 255, (26, 40, 48, 3), dtype=np.uint8)  # of 2.6 s, and pieces are of 2 s
    embedder = ours.embedder()
    pieces = list(embedder.pieces(open_video(frames, frame_rate=10.0)))
    assert [(piece.start, piece.stop) for piece in pieces] == [(0.0, 2.0), (2.0, pytest.approx(2.6))]
    for vector, numbers in zip(embedder.embed(pieces), ([0, 2, 5, 7, 10, 12, 15, 17], [20, 22, 25, 25]), strict=True):
        np.testing.assert_allclose(vector, ours.watch(ours.prepare(frames[numbers])[None]).mean(1)[0], atol=1e-5)
    encoders.save(ours, tmp_path / "a.safetensors")
    again = encoders.load(tmp_path / "a.safetensors")
    assert all(map(torch.equal, again.state_dict().values(), ours.state_dict().values()))
    torch.testing.assert_close(again.watch(videos), ours.watch(videos))  # pyright: ignore
    with pytest.raises(BadInput, match="classifier of videos, which tapetum has not"):
        encoders.from_state({"pooler.x": torch.zeros(1)}, "huggingface", theirs.config.to_dict())


@torch.no_grad()
def test_perception_encoder_and_swin_by_timm():
    spatial = encoders.build("timm:vit_pe_spatial_tiny_patch16_512")
    assert spatial(torch.zeros(1, 3, 64, 96)).grid == (4, 6)  # of another size than its name
    swin = encoders.build("swin-t")
    assert (swin.strides, swin.map_channels) == ((4, 8, 16, 32), (96, 192, 384, 768))
    (image,) = images((64, 96))
    network = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, strict_img_size=False, img_size=(224, 224))
    network.load_state_dict({name.removeprefix("network."): each for name, each in swin.state_dict().items()})
    network.eval()
    torch.testing.assert_close(swin(image).pooled, network(image), atol=1e-5, rtol=0)
    torch.testing.assert_close(swin(image).maps[-1].mean((2, 3)), network(image), atol=1e-5, rtol=0)
    assert [each.shape[2:] for each in swin(image).maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]


@torch.no_grad()
def test_pe_core_in_the_layout_of_open_clip():
    name = "vit_pe_core_tiny_patch16_384"
    torch.manual_seed(0)
    trunk = timm.create_model(name, num_classes=40).eval()
    trunk.head.bias.zero_()
    text = replace(CLIP_TEXT, depth=1, pooling="highest", end_token=None)
    clip = encoders.build("clip-base-32-towers", text=text)
    state = {
        f"text.{key}": each
        for key, each in to_official(clip, open_clip.rows(clip)).items()
        if not key.startswith(("visual", "logit_scale"))
    }
    state |= {f"visual.trunk.{key}": each for key, each in trunk.state_dict().items()}
    state["text.text_projection"] = torch.randn(512, 40)
    state["logit_scale"] = torch.tensor(4.0)
    vision = {"timm_model_name": name, "timm_proj": None}
    model = {"embed_dim": 40, "custom_text": True, "vision_cfg": vision, "text_cfg": {"layers": 1}}
    ours = encoders.from_state(state, "open_clip", {"model_cfg": model})
    (image,) = images((384, 384))
    assert isinstance(ours, Towers)
    want = torch.nn.functional.normalize(trunk(image), dim=-1)
    torch.testing.assert_close(ours.image_vectors(image), want, atol=1e-5, rtol=0)
    with pytest.raises(BadInput, match="has a bias"):
        encoders.from_state(state | {"visual.trunk.head.bias": torch.ones(40)}, "open_clip", {"model_cfg": model})


def test_files_of_the_former_networks_name_the_version_that_reads_them():
    for header in (
        {"family": "swin", "config": {}, "preprocessing": {}},
        {"family": "vit", "config": {"rotary": "pe"}, "preprocessing": {}},
        {"family": "towers", "config": {"image": {"resample": "naflex"}}, "preprocessing": {}},
    ):
        with pytest.raises(BadInput, match=r"tapetum 0\.1\.0 reads"):
            encoders.architectures.from_json(header)
