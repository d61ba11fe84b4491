"""Code shared by PaliGemma's training runs; the same call resumes a stopped run.

Stages on images of `scenes/` are in `nano.stages`, transfers in `transfer.run`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.encoders.config import ViTConfig
from tapetum.hub.loading import header_of
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.config import PaliGemmaConfig, named
from tapetum.systems.paligemma.recipes import PaliGemmaStage
from tapetum.systems.paligemma.task import PaliGemmaTask, adopted_encoder
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.train import FitResult, Task, TrainConfig, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config

TOKENIZER = "tokenizer.model"


@dataclass(frozen=True)
class TrainedPaliGemma:
    weights: Path
    """A file for `tapetum.load`; of stage 0, the vision encoder's weights for stage 1."""
    scores: Mapping[str, float]


def fit_vision_encoder(task: Task, run: PaliGemmaStage, launch: Launch, phase: str) -> TrainedPaliGemma | None:
    """Train stage 0, and write the vision encoder with the head of its loss."""
    result = fit_phase(task, run, launch, phase)
    if result is None:
        return None
    path = launch.out / phase / "vision_encoder.safetensors"
    if is_main():
        from safetensors.torch import save_file

        with whole_file(path) as temporary:
            tensors = scored_model(result).state_dict().items()
            save_file({name: x.contiguous() for name, x in tensors}, temporary)
    return TrainedPaliGemma(path, result.scores)


def fit_phase(task: Task, run: PaliGemmaStage, launch: Launch, phase: str) -> FitResult | None:
    """Train in the folder of the stage, or of a phase if there are several; None if there is more to do."""
    name = phase or f"stage-{run.stage}"
    result = fit(task, stage_config(run, launch).of_phase(name), launch.out / name, began=launch.began)
    return None if result.state == "stopped" else result


def stage_config(run: PaliGemmaStage, launch: Launch) -> TrainConfig:
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
    return adopted_encoder(run.encoder, run.image_size).config


def scored_model(result: FitResult) -> nn.Module:
    """Get the model with its averaged weights, if there is an average."""
    for average in result.averages.values():
        result.model.load_state_dict(average)
    return result.model


def save_trained(result: FitResult, out: Path, task: PaliGemmaTask) -> TrainedPaliGemma:
    path = out / "model.safetensors"
    if is_main():
        model = scored_model(result)
        if hasattr(model, "dense_head"):  # of stage 0, no part of a model
            del model.dense_head
        weights.save(model, path, tokenizer=task.tokens.identity)  # pyright: ignore[reportArgumentType]
        task.tokens.save(out / TOKENIZER)
    return TrainedPaliGemma(path, result.scores)


def choose_tokens(run: PaliGemmaStage, out: Path, texts: Callable[[], Sequence[str]]) -> Tokens:
    """Choose the named tokenizer, that of the weights, or one trained on `texts`.

    Raises BadInput for a tokenizer of other weights.
    """
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
    return Tokens.train(texts(), run.vocabulary, out / TOKENIZER)
