"""The training task of paligemma-photo, and its run from a config to a file of weights; the same call resumes a stopped run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.hub.loading import header_of
from tapetum.systems.paligemma.data import collate_texts
from tapetum.systems.paligemma.losses import PackedTexts, pack_texts, packed_loss
from tapetum.systems.paligemma.photo import model as photo_model
from tapetum.systems.paligemma.photo.config import PhotoConfig, PhotoRun
from tapetum.systems.paligemma.photo.data import (
    FOLDS,
    PhotoFeatures,
    PhotoSample,
    PhotoSamples,
    read_labelled,
    read_photos,
    read_segmented,
)
from tapetum.systems.paligemma.photo.model import PhotoPaliGemma, align_projector
from tapetum.systems.paligemma.photo.scores import score_features
from tapetum.systems.paligemma.photo.texts import class_nouns, training_lines
from tapetum.systems.paligemma.tokens import EXTRA, Tokens
from tapetum.train import StepContext, Task, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config

TOKENIZER = "tokenizer.model"
WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class PhotoStep:
    """A micro-batch as the loss takes it."""

    features: Float[Tensor, "b t f"]
    packed: PackedTexts


class PhotoTask(Task):
    """Trains the decoder and the projector; the classifier stays frozen."""

    def __init__(self, run: PhotoRun, config: PhotoConfig, tokens: Tokens, samples: PhotoSamples, checks: PhotoFeatures | None):
        self.run, self.config, self.tokens, self.samples, self.checks = run, config, tokens, samples, checks

    def model(self) -> nn.Module:
        """Make a new model without its classifier; its projector is initialised with the class names."""
        model = PhotoPaliGemma(self.config)
        if self.run.start:
            photo_model.fill(model, Path(self.run.start))
            return model
        words = [self.tokens.encode(f"{each.name} {each.noun}") for each in class_nouns()]
        align_projector(model, torch.from_numpy(self.samples.rows), words)
        return model

    def dataset(self) -> "PhotoDataset":
        """Build the data set of samples by number."""
        return PhotoDataset(self.samples, self.run.seed)

    def collate(self, items: Sequence[PhotoSample]) -> PhotoStep:
        """Make a micro-batch."""
        groups = collate_texts([item.pairs for item in items], self.tokens)
        features = torch.from_numpy(np.stack([item.features for item in items]))
        mask = self.config.prefix_mask
        assert mask in ("blocks", "images")
        return PhotoStep(features, pack_texts(groups, len(items), "roots", mask))

    def loss(self, model: nn.Module, batch: PhotoStep, context: StepContext) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of the answers."""
        assert isinstance(model, PhotoPaliGemma)
        return packed_loss(model, model.embed_features(batch.features), batch.packed, self.run.smoothing)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Group the parameters: the projector decays, nothing else does."""
        decayed = [parameter for name, parameter in model.named_parameters() if name == "projector.weight"]
        rest = [parameter for name, parameter in model.named_parameters() if name != "projector.weight"]
        return [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score photographs of the fold that is never trained on."""
        if self.checks is None:
            return {}
        assert isinstance(model, PhotoPaliGemma)
        features = np.stack([self.samples.features(each[0].astype(np.float32)) for each in self.checks.vectors])
        return {name: score.share for name, score in score_features(model, self.tokens, features, self.checks.nouns).items()}

    def describe(self) -> Mapping[str, Any]:
        """Describe the run, for checkpoints."""
        counts = {name: len(source) for name, source in self.samples.sources.items()}
        return {**asdict(self.run), "images": counts, "tokenizer": self.tokens.identity}


@dataclass(frozen=True)
class PhotoDataset(Dataset):
    """Samples by number, for `tapetum.train`."""

    samples: PhotoSamples
    seed: int

    def __getitem__(self, number: int) -> PhotoSample:
        return self.samples.draw(self.seed, number)


def train_photo(run: PhotoRun, launch: Launch, say: Callable[[str], None] = print) -> tuple[Path, dict[str, float]] | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. Returns the file of weights and the scores.

    Returns None if there is more to do. Raises BadInput for missing data, and if the classifier's package is not installed.
    """
    if not run.data:
        raise BadInput("there are no photographs; give --data with parquet or a folder of them, labelled by ImageNet's classes")
    if launch.threads:
        torch.set_num_threads(launch.threads)  # of the encoder too: what it computes depends on it in the last bit
    encoder = photo_model.load_classifier(PhotoConfig.encoder)
    sources, checks = read_sources(run, encoder, launch.out / "features", say)
    shares = {name: getattr(run, f"{name}_share") for name in ("prototype", "photo", "mixed", "labelled", "segmented")}
    samples = PhotoSamples(sources, shares, encoder, run.questions, run.vector_share, run.there_share)
    tokens = _tokens(run, launch.out)
    task = PhotoTask(run, run.config(len(tokens), len(tokens) - len(EXTRA), tokens.newline[0]), tokens, samples, checks)
    config = train_config(
        run,
        launch,
        micro_batch=run.micro_batch,
        workers=0,
        schedule="linear",
        warmup_steps=max(1, run.steps // 20),
        betas=(0.9, 0.99),
        clip_norm=1.0,
        ema_decay=0.99,
        eval_every=max(1, run.steps // 5),
        log_every=20,
        checkpoint_every=500,
    )
    result = fit(task, config, launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    model = result.model
    for average in result.averages.values():
        model.load_state_dict(average)
    assert isinstance(model, PhotoPaliGemma)
    if is_main():
        photo_model.save(model.eval(), launch.out / WEIGHTS, torch.float16, tokens.identity)
        tokens.save(launch.out / TOKENIZER)
    return launch.out / WEIGHTS, dict(task.evaluate(model.eval(), result.step))


def read_sources(
    run: PhotoRun, encoder: EfficientNetLite, cache: Path, say: Callable[[str], None]
) -> tuple[dict[str, PhotoFeatures], PhotoFeatures | None]:
    """Read all training images of a run, by the names of `data`, and the photographs to score."""
    photos = read_photos(Path(run.data), encoder, run.views, cache / "photos.npy", say)
    parts = [
        [k for k, number in enumerate(photos.classes) if (number % FOLDS == run.fold) == held_out] for held_out in (False, True)
    ]
    if not parts[0]:
        raise BadInput(f"{run.data} has no photograph outside fold {run.fold}; give more classes, or another --fold")
    sources = {"photo": photos.part(parts[0])}
    for k, place in enumerate(run.labelled):
        read = read_labelled(Path(place), "train", encoder, run.most, cache / f"labelled-{k}.npy", say)
        sources["labelled"] = joined(sources.get("labelled"), read)
    for k, place in enumerate(run.segmented):
        read = read_segmented(Path(place), "train", encoder, cache / f"segmented-{k}.npy", say)
        sources["segmented"] = joined(sources.get("segmented"), read)
    return sources, photos.part(parts[1]) if parts[1] else None


def joined(one: PhotoFeatures | None, other: PhotoFeatures) -> PhotoFeatures:
    """Concatenate two collections."""
    if one is None:
        return other
    return PhotoFeatures(
        vectors=np.concatenate((one.vectors, other.vectors)),
        nouns=[*one.nouns, *other.nouns],
        classes=[*one.classes, *other.classes],
        absent=[*one.absent, *other.absent],
    )


def _tokens(run: PhotoRun, out: Path) -> Tokens:
    """The tokenizer of the run: that of the initial weights, of the folder, or a newly trained one."""
    if run.start:
        tokens = Tokens.beside(run.start)
        tokens.check(tokens.size, header_of(Path(run.start)).get(photo_model.TOKENIZER))
        return tokens
    if (out / TOKENIZER).exists():
        return Tokens.load(out / TOKENIZER)
    out.mkdir(parents=True, exist_ok=True)
    return Tokens.train(training_lines(), run.vocabulary, out / TOKENIZER)
