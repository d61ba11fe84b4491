"""Stages 0, 1 and 2 of PaliGemma on images of `scenes/`, from a config of `recipes` to a weights file; stages as phases of one
run, each in its folder, which produces the weights of paligemma-nano-2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.encoders.config import ViTConfig
from tapetum.systems.paligemma import prompts, weights
from tapetum.systems.paligemma.config import LOCATIONS
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import PaliGemmaStage
from tapetum.systems.paligemma.run import (
    TOKENIZER,
    TrainedPaliGemma,
    choose_tokens,
    fit_phase,
    fit_vision_encoder,
    save_trained,
    sized,
    vision_encoder_config,
)
from tapetum.systems.paligemma.task import Start, StartFrom, StartFromEncoder
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.systems.paligemma.transfer.samples import NOISE
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch
from tapetum.train.process_group import join_process_group
from tapetum_world.physics.props import COLOURS, PROPS, WORDS
from tapetum_world.training.paligemma.dense_task import CELL, DenseTask, location_embeddings
from tapetum_world.training.paligemma.recipes import NanoRun
from tapetum_world.training.paligemma.scene_images import Encode, SceneFolder, SceneTexts
from tapetum_world.training.paligemma.task import AnswerChecks, SceneTextTask


def train_stage(
    run: PaliGemmaStage, launch: Launch, say: Callable[[str], None] = print, phase: str = ""
) -> TrainedPaliGemma | None:
    """Train a stage in the folder `launch.out`; None if it is unfinished.

    A stage that is one of several phases of a run writes its files to the folder `phase` in it. Raises BadInput for missing
    data, and weights that do not fit.
    """
    if run.stage == "2" and not run.start:
        raise BadInput("stage 2 goes on from weights of stage 1; name them with --weights")
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
    if run.encoder and config.patch % CELL and (run.stage == "0" or run.dense_weight):
        other = "give another encoder" if run.stage == "0" else "give --dense-weight 0"
        raise BadInput(f"{run.encoder} has patches of {config.patch}, which do not consist of cells of {CELL} pixels; {other}")
    return config


def _vision_encoder_task(run: PaliGemmaStage, train: SceneFolder, checks: SceneFolder | None) -> DenseTask:
    start = Path(run.start) if run.start else None
    return DenseTask(cell_encoder_config(run), train, checks, run.seed, start, run.position_init, run.encoder)


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


WEIGHTS = "model.safetensors"


def train_nano(run: NanoRun, launch: Launch, say: Callable[[str], None] = print) -> TrainedPaliGemma | None:
    """Train through all phases in the folder `launch.out`; the same call resumes a stopped run.

    Returns the file of the final float16 weights, with their tokenizer beside it, and the scores of the last phase; None if the
    run is unfinished. Raises BadInput for missing data.
    """
    last = train_phases(run.phases(), launch, say)
    if last is None:
        return None
    path = launch.out / WEIGHTS
    if is_main():
        tokens = Tokens.beside(last.weights)
        with whole_file(launch.out / TOKENIZER) as temporary:
            temporary.write_bytes(tokens.model)
        weights.save(weights.load(last.weights), path, torch.float16, tokens.identity)
    return TrainedPaliGemma(path, last.scores)


def train_phases(
    phases: Mapping[str, PaliGemmaStage], launch: Launch, say: Callable[[str], None] = print
) -> TrainedPaliGemma | None:
    """Train stages one after the other, each in the folder of its name in `launch.out`; the same call resumes a stopped run.

    Each starts from the weights of the one before, unless its `start` or `vision_encoder` names an earlier phase. Returns the
    result of the last one, or None if the run is unfinished.
    """
    finished, made = None, dict[str, str]()
    with join_process_group(launch.device):  # once for all phases: torchrun's processes cannot meet a second time
        for name, stage in phases.items():
            start = made[stage.start] if stage.start else str(finished.weights) if finished else ""
            encoder = made[stage.vision_encoder] if stage.vision_encoder else ""
            scored = name != list(phases)[-1] and any((launch.out / name).glob("*.safetensors"))  # when it ended
            stage = replace(stage, start=start, vision_encoder=encoder, checks="" if scored else stage.checks)
            finished = train_stage(stage, launch, say, phase=name)
            if finished is None:
                return None
            made[name] = str(finished.weights)
    return finished
