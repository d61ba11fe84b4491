"""The run of paligemma-nano-2, tiny: phases one after the other, stopped after every step, to a file that answers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tapetum.core.errors import BadInput
from tapetum.encoders.config import DecoderConfig
from tapetum.systems.paligemma import config as configs
from tapetum.systems.paligemma.answers import Answerer
from tapetum.systems.paligemma.config import PaliGemmaConfig, as_json, from_json, named, siglip
from tapetum.systems.paligemma.model import build
from tapetum.systems.paligemma.recipes import PaliGemmaStage
from tapetum.systems.paligemma.run import TOKENIZER, TrainedPaliGemma
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train.launch_config import Launch
from tapetum_world.training.paligemma import stages
from tapetum_world.training.paligemma.dense_task import CELL
from tapetum_world.training.paligemma.recipes import RECIPES, NanoRun
from tapetum_world.training.paligemma.scene_images import SceneFolder
from tapetum_world.training.paligemma.stages import texts_of, train_nano, train_phases
from world_support.scene_folder import write_scene_folder

TINY = PaliGemmaConfig(
    vision_encoder=siglip(112, width=16, depth=1, heads=2, mlp_width=16, patch=8, stem="convolutions", stem_blocks=1),
    language=DecoderConfig(width=16, depth=2, heads=2, key_value_heads=1, head_width=8, mlp_width=16, vocabulary=1500),
    token_merge=2,
    prefix_mask="blocks",
    newline=4,
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NanoRun:
    monkeypatch.setitem(configs.NAMED, "tiny", TINY)
    images = str(write_scene_folder(tmp_path / "images"))
    few = {"dense_steps": 2, "text_steps": 2, "cooled_steps": 2, "dense_batch_size": 2}
    return replace(RECIPES["tiny"], data=images, checks=images, model="tiny", **few)


@pytest.mark.slow
def test_a_run_that_was_stopped_after_every_step_ends_the_same_and_answers(run: NanoRun, tmp_path: Path) -> None:
    tokens = Tokens.train(texts_of(SceneFolder(run.data)), run.vocabulary, tmp_path / TOKENIZER)
    for out in ("whole", "parts"):
        (tmp_path / out / "2-texts").mkdir(parents=True)
        (tmp_path / out / "2-texts" / TOKENIZER).write_bytes(tokens.model)
    launch = Launch(out=tmp_path / "whole", device="cpu", threads=1, settings="seed = 0\n")
    whole = train_nano(run, launch, lambda text: None)
    assert whole is not None
    assert (tmp_path / "whole" / "settings.toml").read_text() == "seed = 0\n"
    assert all((tmp_path / "whole" / name / "ledger.json").is_file() for name in run.phases())
    assert "count" in whole.scores

    parts, calls = None, 0
    while parts is None:
        parts = train_nano(run, replace(launch, out=tmp_path / "parts", minutes=0.0), lambda text: None)
        calls += 1
    assert calls == 4  # each of the three phases was stopped once
    assert parts.scores == whole.scores
    tensors, others = load_file(whole.weights), load_file(parts.weights)
    assert tensors.keys() == others.keys()
    assert [name for name, tensor in tensors.items() if not torch.equal(tensor, others[name])] == []
    assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float16}

    answerer = Answerer.load(whole.weights)
    frames = np.zeros((1, 112, 112, 3), np.uint8)
    assert answerer.model.config.image_tokens == 49
    [written] = answerer.ask([frames], ["detect block"], 4)
    assert len(written.ids) <= 4


def test_each_phase_begins_with_the_weights_of_the_one_before_or_of_those_that_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: dict[str, tuple[str, str, str]] = {}

    def record(stage: PaliGemmaStage, launch: Launch, say: object, phase: str) -> TrainedPaliGemma:
        begun[phase] = stage.start, stage.vision_encoder, stage.checks
        return TrainedPaliGemma(Path(phase) / "made", {})

    monkeypatch.setattr(stages, "train_stage", record)
    plain = PaliGemmaStage(stage="1", checks="checks")
    phases = dict.fromkeys("abc", plain) | {"d": replace(plain, start="a", vision_encoder="c")}
    for name in "ad":
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").touch()
    finished = train_phases(phases, Launch(out=tmp_path, device="cpu"))
    assert finished is not None
    assert finished.weights == Path("d/made")
    assert begun == {
        "a": ("", "", ""),  # it has ended: it is not scored again
        "b": ("a/made", "", "checks"),
        "c": ("b/made", "", "checks"),
        "d": ("a/made", "c/made", "checks"),  # the last one's scores are those of the run
    }


def test_the_vision_encoder_has_a_token_for_each_cell_and_the_model_fits_25_megabytes() -> None:
    config = named("paligemma-nano-2")
    assert config.vision_encoder.patch == CELL
    assert (config.image_size, config.vision_encoder.grid, config.image_tokens) == (112, (14, 14), 49)
    parameters = sum(parameter.numel() for parameter in build(config).parameters())
    assert 2 * parameters < 25e6


def test_merged_tokens_are_the_channels_of_each_square_row_by_row() -> None:
    assert (TINY.image_tokens, TINY.token_side) == (49, 16)
    model = build(TINY)
    pixels = torch.randn(2, 1, 3, 112, 112)
    with torch.no_grad():
        tokens = model.vision_encoder(pixels[:, 0]).tokens
        made = model.embed_images(pixels)
        for row, column in ((0, 0), (2, 5), (6, 6)):
            inside = [tokens[:, (2 * row + r) * 14 + 2 * column + c] for r in range(2) for c in range(2)]
            expected = model.projector(torch.cat(inside, 1))
            torch.testing.assert_close(made[:, row * 7 + column], expected, atol=1e-5, rtol=1e-5)
        with pytest.raises(BadInput, match="squares of 2 x 2 tokens do not divide a grid of 13 x 13"):
            model.embed_images(torch.zeros(1, 1, 3, 104, 104))
    with pytest.raises(BadInput, match="token_merge is 3 for 14 rows of tokens"):
        replace(TINY, token_merge=3)


def test_a_config_says_a_merge_only_where_there_is_one() -> None:
    assert from_json(as_json(TINY)) == TINY
    plain = replace(TINY, token_merge=1)
    assert "token_merge" not in as_json(plain)  # as in the files that were made before
    assert from_json(as_json(plain)) == plain


def test_what_cannot_be_trained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no folder truth; make one with tapetum scenes images"):
        train_nano(replace(RECIPES["tiny"], data=str(tmp_path)), Launch(out=tmp_path / "run"))
    with pytest.raises(BadInput, match="text_steps is 0"):
        replace(RECIPES["tiny"], text_steps=0)
