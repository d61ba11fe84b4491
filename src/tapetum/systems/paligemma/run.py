"""Trainings of PaliGemma, from a config of `recipes` to a file of weights; the same call goes on after a stop."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from torch import nn

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.encoders.config import ViTConfig
from tapetum.hub.loading import header_of
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.adopted import adopted_encoder
from tapetum.systems.paligemma.config import PaliGemmaConfig, named
from tapetum.systems.paligemma.contrastive import ContrastiveTask
from tapetum.systems.paligemma.data import JsonLinesSamples
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.nano.dense_task import CELL, DenseTask
from tapetum.systems.paligemma.nano.scene_images import SceneFolder
from tapetum.systems.paligemma.nano.scene_texts import Encode, SceneTexts
from tapetum.systems.paligemma.nano.task import AnswerChecks, SceneTextTask
from tapetum.systems.paligemma.recipes import Mixture, PaliGemmaStage
from tapetum.systems.paligemma.task import PaliGemmaTask, Start, StartFrom, StartFromEncoder
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train import FitResult, TrainConfig, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config

TOKENIZER = "tokenizer.model"
CAPTIONS = Mixture(answers=0, regions=0, captions=1, descriptions=1, detect_all=0, detect=0)
"""Captions of an image, the long one last, where there is one."""


@dataclass(frozen=True)
class TrainedPaliGemma:
    """The result of a run."""

    weights: Path
    """A file for `tapetum.load`; of stage 0, the vision encoder's weights for stage 1."""
    scores: Mapping[str, float]
    """On held-out data."""


def train_stage(
    run: PaliGemmaStage, launch: Launch, say: Callable[[str], None] = print, phase: str = ""
) -> TrainedPaliGemma | None:
    """Train a stage in the folder `launch.out`; None if there is more to do.

    A stage that is one of several phases of a run has its files in the folder `phase` in it. Raises BadInput for data that is
    not there, and weights that do not fit.
    """
    if run.stage == "2" and not run.start:
        raise BadInput("stage 2 goes on from weights of stage 1; name them with --weights")
    config = stage_config(run, launch)
    if run.stage == "0" and Path(run.data).is_file():
        return _train_on_pairs(run, launch, config, say, phase)
    train = SceneFolder(run.data, run.limit)
    checks = SceneFolder(run.checks, 256) if run.checks else None
    say(f"{len(train):,} images to learn from, {len(checks) if checks else 0} to check")
    if run.stage == "0":
        return _train_vision_encoder(run, launch, train, checks, config, phase)
    tokens = _tokens(run, launch.out / phase, train)
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
    name = phase or f"stage-{run.stage}"
    result = fit(task, config.of_phase(name), launch.out / name, began=launch.began)
    return None if result.state == "stopped" else _save(result, launch.out / phase, task)


def stage_config(run: PaliGemmaStage, launch: Launch) -> TrainConfig:
    """Make the config of the loop."""
    return train_config(
        run,
        launch,
        micro_batch=run.micro_batch,
        workers=0,
        schedule=run.schedule,
        warmup_steps=max(1, run.steps // 20),
        betas=(0.9, 0.99),
        rules=run.rules(),
        ema_decay=0.995,
        eval_every=max(1, run.steps // 10),
        log_every=20,
        checkpoint_every=1000,
    )


def _start(run: PaliGemmaStage, tokens: Tokens) -> Start | None:
    """The initial weights."""
    if run.encoder:
        return StartFromEncoder(run.encoder, run.image_size)
    if not run.start:
        return None
    return StartFrom(
        Path(run.start),
        Path(run.vision_encoder) if run.vision_encoder else None,
        tokens.location_ids[0] if run.position_init else None,
    )


def sized(run: PaliGemmaStage, tokens: Tokens) -> PaliGemmaConfig:
    """Make the config of the model, with the vocabulary and the newline of its tokenizer."""
    config = named(run.model)
    return replace(
        config,
        vision_encoder=vision_encoder_config(run),
        language=replace(config.language, vocabulary=tokens.size),
        newline=tokens.newline[0],
    )


def vision_encoder_config(run: PaliGemmaStage) -> ViTConfig:
    """Make the config of the vision encoder: that of `run.encoder`, or the model's. Raises BadInput for other ViTs."""
    if not run.encoder:
        return replace(named(run.model).vision_encoder, image_size=(run.image_size, run.image_size))
    config = adopted_encoder(run.encoder, run.image_size).config
    if config.patch % CELL and (run.dense_weight if run.stage == "1" else not Path(run.data).is_file()):
        other = "give another encoder" if run.stage == "0" else "give --dense-weight 0"
        raise BadInput(f"{run.encoder} has patches of {config.patch}, which do not consist of cells of {CELL} pixels; {other}")
    return config


def _train_vision_encoder(
    run: PaliGemmaStage, launch: Launch, train: SceneFolder, checks: SceneFolder | None, config: TrainConfig, phase: str
) -> TrainedPaliGemma | None:
    about = vision_encoder_config(run), checks, run.seed, *_beginning(run)
    task = DenseTask(about[0], train, *about[1:])
    if run.contrastive_weight:
        task = ContrastiveTask(about[0], SceneTexts(train, CAPTIONS), *about[1:], weight=run.contrastive_weight, dense=True)
    return _fit_vision_encoder(task, launch, config, phase)


def _train_on_pairs(
    run: PaliGemmaStage, launch: Launch, config: TrainConfig, say: Callable[[str], None], phase: str
) -> TrainedPaliGemma | None:
    """Train stage 0 on images and captions of a file of JSON lines."""
    pairs = JsonLinesSamples(run.data, run.image_size)
    checks = JsonLinesSamples(run.checks, run.image_size) if run.checks else None
    say(f"{len(pairs):,} pairs to learn from, {len(checks) if checks else 0} to check")
    task = ContrastiveTask(vision_encoder_config(run), pairs, checks, run.seed, *_beginning(run))
    return _fit_vision_encoder(task, launch, config, phase)


def _beginning(run: PaliGemmaStage) -> tuple[Path | None, bool, str]:
    """The weights that stage 0 begins with, as `DenseTask` takes them."""
    return Path(run.start) if run.start else None, run.position_init, run.encoder


def _fit_vision_encoder(task: DenseTask, launch: Launch, config: TrainConfig, phase: str) -> TrainedPaliGemma | None:
    """Train, and write the vision encoder with the head of the dense loss, without those of the sigmoid loss."""
    name = phase or "stage-0"
    result = fit(task, config.of_phase(name), launch.out / name, began=launch.began)
    if result.state == "stopped":
        return None
    path = launch.out / phase / "vision_encoder.safetensors"
    model = _scored_model(result)
    if is_main():
        from safetensors.torch import save_file

        with whole_file(path) as temporary:
            kept = {name: value for name, value in model.state_dict().items() if not name.startswith("contrastive.")}
            save_file({name: value.contiguous() for name, value in kept.items()}, temporary)
    return TrainedPaliGemma(path, task.evaluate(model.eval(), result.step))


def _scored_model(result: FitResult) -> nn.Module:
    """The model with the average of its weights, where there is one."""
    for average in result.averages.values():
        result.model.load_state_dict(average)
    return result.model


def _save(result: FitResult, out: Path, task: PaliGemmaTask) -> TrainedPaliGemma:
    """Write weights and tokens side by side."""
    model = _scored_model(result).eval()
    if hasattr(model, "dense_head"):  # of stage 0, no part of a model
        del model.dense_head
    path = out / "model.safetensors"
    if is_main():
        weights.save(model, path, tokenizer=task.tokens.identity)  # pyright: ignore[reportArgumentType]
        with whole_file(out / TOKENIZER) as temporary:
            temporary.write_bytes(task.tokens.model)
    return TrainedPaliGemma(path, task.evaluate(model, result.step))


def _tokens(run: PaliGemmaStage, out: Path, folder: SceneFolder) -> Tokens:
    """The tokens that are named, those of the weights, or learned ones. Raises BadInput for tokens of other weights."""
    header = header_of(Path(run.start)) if run.start else {}
    if run.tokenizer and not Path(run.tokenizer).exists():
        raise BadInput(f"there is no tokenizer {run.tokenizer}; name a tokenizer.model, or leave it out to have one learned")
    if run.tokenizer or weights.HEADER in header:
        tokens = Tokens.load(run.tokenizer) if run.tokenizer else Tokens.beside(run.start)
        tokens.check(tokens.size, header.get(weights.TOKENIZER))
        return tokens
    if (out / TOKENIZER).exists():
        return Tokens.load(out / TOKENIZER)
    out.mkdir(parents=True, exist_ok=True)
    return Tokens.train(texts_of(folder), run.vocabulary, out / TOKENIZER)


def texts_of(folder: SceneFolder, most: int = 1500) -> list[str]:
    """List the texts of the first images of a folder, and every word of the scenes."""
    from tapetum.systems.paligemma import prompts
    from tapetum.systems.paligemma.transfer.noise import NOISE
    from tapetum.world.physics.props import COLOURS, PROPS, WORDS

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
    """Load the function that encodes masks, which can be pickled; None where no codec is named."""
    if not codec:
        return None
    return partial(_encode_masks, mask_codec.load(codec))


def _encode_masks(
    codec: mask_codec.MaskCodec, masks: Float[np.ndarray, "n h w"], boxes: Float[np.ndarray, "n 4"]
) -> Int[np.ndarray, "n 16"]:
    return np.stack([codec.codes_of(mask, box) for mask, box in zip(masks, boxes, strict=True)])
