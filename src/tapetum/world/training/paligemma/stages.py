"""Stages 0, 1 and 2 of PaliGemma on images of `scenes/`, from a config of `recipes` to a weights file."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from tapetum.core.errors import BadInput
from tapetum.encoders.config import ViTConfig
from tapetum.systems.paligemma import prompts
from tapetum.systems.paligemma.config import LOCATIONS
from tapetum.systems.paligemma.contrastive import ContrastiveTask
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import PaliGemmaStage, TextMixture
from tapetum.systems.paligemma.run import (
    TrainedPaliGemma,
    choose_tokens,
    fit_phase,
    fit_vision_encoder,
    save_trained,
    sized,
    train_on_pairs,
    vision_encoder_config,
)
from tapetum.systems.paligemma.task import Start, StartFrom, StartFromEncoder
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.systems.paligemma.transfer.samples import NOISE
from tapetum.train.launch_config import Launch
from tapetum.world.physics.props import COLOURS, PROPS, WORDS
from tapetum.world.training.paligemma.contrastive import DenseContrastiveTask, WaveContrastiveTask
from tapetum.world.training.paligemma.dense_task import CELL, DenseTask
from tapetum.world.training.paligemma.position_init import location_embeddings
from tapetum.world.training.paligemma.scene_images import SceneFolder
from tapetum.world.training.paligemma.scene_texts import Encode, SceneTexts
from tapetum.world.training.paligemma.task import AnswerChecks, SceneTextTask

CAPTIONS = TextMixture(answers=0, regions=0, captions=1, descriptions=1, detect_all=0, detect=0)
"""Captions of an image, the long one last, where there is one."""


def train_stage(
    run: PaliGemmaStage, launch: Launch, say: Callable[[str], None] = print, phase: str = ""
) -> TrainedPaliGemma | None:
    """Train a stage in the folder `launch.out`; None if it is unfinished.

    A stage that is one of several phases of a run writes its files to the folder `phase` in it. Raises BadInput for missing
    data, and weights that do not fit.
    """
    if run.stage == "2" and not run.start:
        raise BadInput("stage 2 goes on from weights of stage 1; name them with --weights")
    if run.stage == "0" and Path(run.data).is_file():
        return train_on_pairs(run, launch, say, phase, WaveContrastiveTask if run.position_init else ContrastiveTask)
    train = SceneFolder(run.data, run.limit)
    checks = SceneFolder(run.checks, 256) if run.checks else None
    say(f"{len(train):,} images to learn from, {len(checks) if checks else 0} to check")
    if run.stage == "0":
        return fit_vision_encoder(_vision_encoder_task(run, train, checks), run, launch, phase)
    out = launch.out / phase
    tokens = choose_tokens(run, out, lambda: texts_of(train))
    cell_encoder_config(run)
    task = SceneTextTask(
        sized(run, tokens),
        tokens,
        SceneTexts(train, run.mixture, _encoder(run.codec)),
        run.seed,
        run.learning,
        dense_weight=run.dense_weight,
        attention_weight=run.attention_weight,
        start=_start(run, tokens),
        checks=AnswerChecks(checks, tokens) if checks else None,
    )
    result = fit_phase(task, run, launch, phase)
    return result and save_trained(result, out, task)


def cell_encoder_config(run: PaliGemmaStage) -> ViTConfig:
    """Build the config of the vision encoder. Raises BadInput for patches that the dense loss cannot divide into cells."""
    config = vision_encoder_config(run)
    dense = run.dense_weight if run.stage == "1" else not Path(run.data).is_file()
    if run.encoder and config.patch % CELL and dense:
        other = "give another encoder" if run.stage == "0" else "give --dense-weight 0"
        raise BadInput(f"{run.encoder} has patches of {config.patch}, which do not consist of cells of {CELL} pixels; {other}")
    return config


def _vision_encoder_task(run: PaliGemmaStage, train: SceneFolder, checks: SceneFolder | None) -> DenseTask:
    start = Path(run.start) if run.start else None
    rest = checks, run.seed, start, run.position_init, run.encoder
    config = cell_encoder_config(run)
    if not run.contrastive_weight:
        return DenseTask(config, train, *rest)
    return DenseContrastiveTask(config, SceneTexts(train, CAPTIONS), *rest, weight=run.contrastive_weight)


@dataclass(frozen=True)
class StartWithLocations(StartFrom):
    """Initial weights from files, but for the embeddings of locations, which are `position_init.location_embeddings`."""

    first_location: int = 0
    """Id of the first location."""

    def __call__(self, model: PaliGemma) -> None:
        super().__call__(model)
        table = model.language.token_embedding.weight.detach()
        norm = float(table[: self.first_location].norm(dim=1).mean())
        table[self.first_location : self.first_location + LOCATIONS] = location_embeddings(table.shape[1], norm)


def _start(run: PaliGemmaStage, tokens: Tokens) -> Start | None:
    """Choose the initial weights."""
    if run.encoder:
        return StartFromEncoder(run.encoder, run.image_size)
    if not run.start:
        return None
    files = Path(run.start), Path(run.vision_encoder) if run.vision_encoder else None
    return StartWithLocations(*files, tokens.location_ids[0]) if run.position_init else StartFrom(*files)


def texts_of(folder: SceneFolder, most: int = 1500) -> list[str]:
    """List the texts of the first images of a folder, and every word of the scenes."""
    lines = [word for word in (*WORDS, *PROPS, *COLOURS, NOISE) for _ in range(20)]
    for index in range(min(len(folder), most)):
        truth = folder.truth(index)
        lines += [*truth["captions"].values(), prompts.caption(), prompts.describe(), prompts.DETECT_ALL]
        for question in truth.get("candidates", ()):
            lines += [prompts.answer(question["text"]), question["answer"]]
        for thing in truth["objects"]:
            noun = thing["noun"]
            lines += [prompts.detect([noun, noun]), prompts.segment(noun), f" {noun}", thing["caption"]]
    return lines


def _encoder(codec: str) -> Encode | None:
    """Load the function that encodes masks, which can be pickled; None if no codec is named."""
    if not codec:
        return None
    return partial(_encode_masks, mask_codec.load(codec))


def _encode_masks(
    codec: mask_codec.MaskCodec, masks: Float[np.ndarray, "n h w"], boxes: Float[np.ndarray, "n 4"]
) -> Int[np.ndarray, "n 16"]:
    return np.stack([codec.codes_of(mask, box) for mask, box in zip(masks, boxes, strict=True)])
