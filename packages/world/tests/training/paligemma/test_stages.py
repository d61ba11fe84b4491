"""Stages from end to end, tiny, on a folder of scenes: what begins, what learns, what stays, and with which tokenizer."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tapetum
from systems.paligemma.test_run import TINY
from tapetum.core.errors import BadInput
from tapetum.systems.paligemma import config as configs
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.recipes import STAGES, Learning, TextMixture, stage0, stage1
from tapetum.systems.paligemma.task import adopted_encoder
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.systems.pretraining.recipes import recipe
from tapetum.systems.pretraining.run import pretrain
from tapetum.train.launch_config import Launch
from tapetum_world.training.paligemma.dense_task import add_position_waves, location_embeddings
from tapetum_world.training.paligemma.stages import train_stage
from world_support.scene_folder import write_scene_folder


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(configs.NAMED, "tiny", TINY)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scene_folder(tmp_path_factory.mktemp("scenes") / "made")


def launch(out: Path) -> Launch:
    return Launch(out=out, threads=1, workers=0, device="cpu")


@pytest.fixture(scope="module")
def first_stages(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stages 0 and 1, three steps each; gives the folder."""
    out = tmp_path_factory.mktemp("stages")
    few = {"model": "tiny", "steps": 3, "batch_size": 4, "micro_batch": 2, "checks": str(scenes), "lr": 1e-2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(configs.NAMED, "tiny", TINY)
        vision_encoder_alone = train_stage(stage0(str(scenes), **few), launch(out / "0"), lambda text: None)
        assert vision_encoder_alone is not None
        assert set(vision_encoder_alone.scores) == {"noun", "colour", "material", "edge_pixels", "place_pixels", "middle"}
        mixture = TextMixture(answers=2, captions=1)
        run = stage1(str(scenes), str(vision_encoder_alone.weights), vocabulary=340, mixture=mixture, **few)
        finished = train_stage(run, launch(out / "1"), lambda text: None)
        assert finished is not None
        assert set(finished.scores) == {"colour", "count", "relation", "read", "region"} - {"read"} | (
            {"read"} & set(finished.scores)
        )
    return out


@pytest.mark.slow
def test_stages_end_with_weights_that_load_and_answer(first_stages: Path) -> None:
    model = tapetum.load(first_stages / "1" / "model.safetensors")
    assert model.config.vision_encoder == TINY.vision_encoder
    tokens = Tokens.load(first_stages / "1")
    tokens.check(model.config.language.vocabulary)
    prefix = torch.tensor([tokens.encode_prefix("caption en")])
    assert len(model.generate_ids(torch.zeros(1, 1, 3, 112, 112), prefix, 3)) == 1
    assert not any(name.startswith("dense_head") for name in model.state_dict())


@pytest.mark.slow
def test_a_ruler_and_another_eye_go_into_the_first_weights(first_stages: Path, scenes: Path, tmp_path: Path) -> None:
    still = {"model": "tiny", "steps": 2, "batch_size": 2, "micro_batch": 2, "lr": 1e-9, "position_init": True}
    before = weights.load(first_stages / "1" / "model.safetensors")
    other = train_stage(
        stage0(str(scenes), start=str(first_stages / "1" / "model.safetensors"), **still), launch(tmp_path / "0")
    )
    assert other is not None
    run = stage1(str(scenes), str(first_stages / "1" / "model.safetensors"), vision_encoder=str(other.weights), **still)
    finished = train_stage(replace(run, learning=Learning(location_std=9.0), attention_weight=0.5), launch(tmp_path / "1"))
    assert finished is not None
    after = weights.load(finished.weights)
    moved = after.state_dict()["vision_encoder.positions"] - before.state_dict()["vision_encoder.positions"]
    expected = torch.zeros_like(moved)
    add_position_waves(expected, TINY.vision_encoder.grid)
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=0)
    first = Tokens.load(tmp_path / "1").location_ids[0]
    rows = [model.state_dict()["language.token_embedding.weight"] for model in (before, after)]
    norm = float(rows[0][:first].norm(dim=1).mean())
    torch.testing.assert_close(rows[1][first : first + 1024], location_embeddings(16, norm), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows[1][:first], rows[0][:first], atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frozen", "still", "moving"),
    [
        ("language", ("language.",), ("vision_encoder.", "projector.")),
        ("vision-encoder", ("vision_encoder.", "projector."), ("language.",)),
    ],
)
def test_what_is_frozen_stays(
    frozen: Any, still: tuple[str, ...], moving: tuple[str, ...], first_stages: Path, scenes: Path, tmp_path: Path
) -> None:
    start = first_stages / "1" / "model.safetensors"
    few = {"model": "tiny", "steps": 2, "batch_size": 2, "micro_batch": 2, "lr": 1e-2, "freeze": frozen}
    finished = train_stage(stage1(str(scenes), str(start), vision_encoder_warmup_steps=0, **few), launch(tmp_path))
    assert finished is not None
    before, after = weights.load(start).state_dict(), weights.load(finished.weights).state_dict()
    moved = {name for name in before if not torch.allclose(before[name], after[name], rtol=1e-5, atol=1e-7)}
    assert not any(name.startswith(still) for name in moved)
    assert all(any(name.startswith(part) for name in moved) for part in moving)


def test_weights_keep_their_tokenizer_whatever_its_file_is_called(first_stages: Path, scenes: Path, tmp_path: Path) -> None:
    start = tmp_path / "mine.safetensors"
    shutil.copy(first_stages / "1" / "model.safetensors", start)
    run = stage1(str(scenes), str(start), vocabulary=330, model="tiny", steps=2, batch_size=2, micro_batch=2)
    with pytest.raises(BadInput, match=r"there is no tokenizer beside .*mine.safetensors"):
        train_stage(run, launch(tmp_path / "1"))
    shutil.copy(first_stages / "1" / "tokenizer.model", tmp_path / "mine.model")
    finished = train_stage(run, launch(tmp_path / "1"))
    assert finished is not None
    assert Tokens.load(tmp_path / "1").model == Tokens.load(first_stages / "1").model
    words = ["other words for another model, of which there are a great many more than a few, some of them rather long"]
    Tokens.train(words * 4, 320, tmp_path / "other.model")
    with pytest.raises(BadInput, match="the tokenizer is another one"):
        train_stage(replace(run, tokenizer=str(tmp_path / "other.model")), launch(tmp_path / "2"))


@pytest.mark.slow
def test_stage_2_goes_on_with_larger_images(first_stages: Path, tmp_path: Path) -> None:
    large = write_scene_folder(tmp_path / "large", count=3, size=224)
    run = replace(
        replace(STAGES["2"], data=str(large), start=str(first_stages / "1" / "model.safetensors"), image_size=224),
        model="tiny",
        steps=2,
        batch_size=2,
        micro_batch=2,
    )
    finished = train_stage(run, launch(tmp_path / "2"), lambda text: None)
    assert finished is not None
    assert weights.load(finished.weights).config.image_size == 224
    with pytest.raises(BadInput, match="goes on from weights"):
        train_stage(replace(run, start=""), launch(tmp_path / "3"))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of MAE that trained a tiny ViT, with a class token, for a step."""
    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "images").mkdir()
    for k in range(4):
        pixels = np.random.default_rng(k).integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{k}.png")
    network = {"encoder": "vit-nano", "change": ("patch=8", "width=16", "depth=2", "heads=2", "mlp_width=16")}
    run = recipe("mae", str(folder / "images"), **network, size=16, batch_size=2, steps=1, micro_batch=2)
    pretrain(run, launch(folder / "run"), lambda text: None)
    return folder / "run"


@pytest.mark.slow
def test_stages_begin_with_an_encoder_that_pretrain_made(pretrained: Path, tmp_path: Path) -> None:
    scenes = write_scene_folder(tmp_path / "scenes", count=3, size=112)
    vit, expected = tapetum.load(pretrained), adopted_encoder(str(pretrained), 112).state_dict()
    for name, tensor in vit.state_dict().items():
        if name.startswith(("blocks.", "norm.")):
            assert torch.equal(expected[name], tensor), name
    few: dict[str, Any] = {"encoder": str(pretrained), "steps": 2, "batch_size": 2, "micro_batch": 2, "lr": 1e-12}
    mixture = TextMixture(answers=1, captions=0, regions=0, detect_all=0, detect=0)
    for run in (stage0(str(scenes), **few), stage1(str(scenes), vocabulary=340, mixture=mixture, **few)):
        finished = train_stage(run, launch(tmp_path / run.stage), lambda text: None)
        assert finished is not None
        if run.stage == "1":
            state = weights.load(finished.weights).state_dict()
            for name, tensor in expected.items():
                torch.testing.assert_close(state[f"vision_encoder.{name}"], tensor, rtol=1e-5, atol=1e-6)
