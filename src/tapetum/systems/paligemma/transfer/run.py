"""Stage 3: transfer to one task, of the papers or from a file of JSON lines; the same call resumes a stopped run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from tapetum.core.errors import BadInput
from tapetum.hub.loading import header_of
from tapetum.hub.registry import known, resolve
from tapetum.layers.cpu import is_quantised
from tapetum.layers.generate import greedy
from tapetum.layers.transformer import add_lora, merge_lora
from tapetum.systems.paligemma import weights
from tapetum.systems.paligemma.config import PaliGemmaConfig
from tapetum.systems.paligemma.data import ImageTexts, JsonLinesSamples, SampleSource, TextPair, TextRows, collate
from tapetum.systems.paligemma.decoding import PrefixDecodingState
from tapetum.systems.paligemma.locations import parse
from tapetum.systems.paligemma.model import PaliGemma
from tapetum.systems.paligemma.recipes import PaliGemmaTransfer
from tapetum.systems.paligemma.run import TrainedPaliGemma, save_trained
from tapetum.systems.paligemma.task import Checks, PaliGemmaTask, Start, rows_loss
from tapetum.systems.paligemma.tokens import Tokens
from tapetum.systems.paligemma.transfer.data import read_examples, there
from tapetum.systems.paligemma.transfer.samples import TaskChecks, codec_of, detection_pair, task_samples
from tapetum.systems.paligemma.transfer.tasks import task_named
from tapetum.train import TrainConfig, fit
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.optim import freeze_where

BATCH = 16
"""Images that are asked about together."""
PROBE = 1000.0
"""Pixels in which lists of boxes are read to be filled up with noise; only shares of them matter."""


def train_transfer(run: PaliGemmaTransfer, launch: Launch, say: Callable[[str], None] = print) -> TrainedPaliGemma | None:
    """Train on a task in the folder `launch.out`; None if there is more to do.

    `say` is called with the numbers of examples and steps. Raises BadInput for data and weights that do not fit.
    """
    tokens, start = tokens_of(run), TransferStart(run)
    config = start.config()
    start.check(tokens, config)
    samples = samples_of(run, config)
    if run.noise_boxes:
        samples = WithNoise(samples, run.noise_boxes)
    checks = _checks(run, config, tokens)
    task = TransferTask(config, tokens, samples, run.seed, run.learning, start=start, checks=checks)
    task.prefix_too = run.loss_on_prefix
    loop = transfer_config(run, launch, len(samples))
    say(f"{len(samples):,} examples, {loop.steps:,} steps")
    result = fit(task, loop.of_phase("stage-3"), launch.out / "stage-3", began=launch.began)
    if result.state == "stopped":
        return None
    if is_main():
        model = result.model.eval()
        if run.lora_rank and not (launch.out / "peft").exists():
            weights.write_peft(model, launch.out / "peft", run.start)  # pyright: ignore[reportArgumentType]
        merge_lora(model)
    return save_trained(result, launch.out, task)


def samples_of(run: PaliGemmaTransfer, config: PaliGemmaConfig, *, masks: bool = True) -> SampleSource:
    """Read the examples of a run: of its task (`task_samples`), or of a file of JSON lines."""
    if run.task:
        return task_samples(run, config, masks=masks)
    return JsonLinesSamples(run.data, config.image_size, run.per_image)


def _checks(run: PaliGemmaTransfer, config: PaliGemmaConfig, tokens: Tokens) -> Checks | None:
    if not run.checks:
        return None
    if run.task:
        task = task_named(run.task)
        some = there(read_examples(task, run.checks))
        return TaskChecks(task, some, tokens, codec_of(run, config), noise_boxes=run.noise_boxes)
    return ExactChecks(JsonLinesSamples(run.checks, config.image_size, 1 << 30), tokens)


def transfer_config(run: PaliGemmaTransfer, launch: Launch, examples: int) -> TrainConfig:
    """Make the config of the loop: a warm-up of 5%, a cosine to 0, Adam as the reference has it."""
    steps = run.steps or max(1, round(run.epochs * examples / run.batch_size))
    return train_config(
        run,
        launch,
        micro_batch=min(run.micro_batch, run.batch_size),
        workers=0,
        steps=steps,
        warmup_steps=min(max(1, steps // 20), steps - 1),
        betas=(0.9, 0.999),
        clip_norm=1.0,
        rules=run.rules(),
        eval_every=max(1, steps // 4),
        log_every=max(1, steps // 100),
    )


def tokens_of(run: PaliGemmaTransfer) -> Tokens:
    """Read the named tokenizer, or the one next to the weights. Raises BadInput if there is none."""
    if run.tokenizer:
        return Tokens.load(run.tokenizer)
    try:
        return Tokens.beside(place_of(run.start))
    except BadInput as error:
        raise BadInput(f"{error}; or name one with --tokenizer") from error


def place_of(name: str) -> Path:
    """Find a file or folder of weights by its name."""
    return resolve(name)[0] if name in known() or not Path(name).exists() else Path(name)


@dataclass(frozen=True)
class TransferStart(Start):
    """The weights to begin with, changed as the run says."""

    run: PaliGemmaTransfer

    @property
    def trained(self) -> bool:
        return not self.run.scratch

    def config(self) -> PaliGemmaConfig:
        """Make the config of the model: that of the weights, with the run's changes."""
        theirs, size = weights.load(self.run.start), self.run.image_size
        if is_quantised(theirs):
            raise BadInput(f"{self.run.start} was rounded to 8 bits, which learn nothing; begin with the weights before that")
        stored = theirs.config
        sight = stored.vision_encoder if size is None else replace(stored.vision_encoder, image_size=(size, size))
        language = replace(stored.language, dropout=self.run.dropout)
        mask = self.run.prefix_mask or stored.prefix_mask
        return replace(stored, vision_encoder=sight, language=language, prefix_mask=mask)

    def check(self, tokens: Tokens, config: PaliGemmaConfig) -> None:
        """Raise BadInput for a tokenizer of another model, which would make the trained model unusable."""
        path = place_of(self.run.start)
        header = header_of(path) if self.trained and path.is_file() else {}
        tokens.check(config.language.vocabulary, header.get(weights.TOKENIZER))

    def __call__(self, model: PaliGemma) -> None:
        if not self.run.scratch:
            theirs = weights.load(self.run.start)
            if self.run.image_size is not None:
                theirs = weights.resized(theirs, self.run.image_size)
            model.load_state_dict(theirs.state_dict())
        if self.run.lora_rank:
            low_rank(model, self.run)


def low_rank(model: PaliGemma, run: PaliGemmaTransfer) -> None:
    """Add low-rank updates to the decoder's layers; only they are trained, and batch norms stay unchanged too."""
    names = add_lora(model.language.blocks, run.lora_rank, run.lora_alpha)
    changes = tuple(f"language.blocks.{name}.parametrizations.weight.0." for name in names)
    freeze_where(model, lambda name: not name.startswith(changes))


class TransferTask(PaliGemmaTask):
    """As `PaliGemmaTask`; can learn the prefix too."""

    prefix_too = False

    def loss(self, model: nn.Module, batch: Any, context: Any) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of the suffixes, or of all text as next-token prediction."""
        if not self.prefix_too:
            return super().loss(model, batch, context)
        assert isinstance(model, PaliGemma)
        groups = tuple(all_text(rows) for rows in batch.batch.groups)
        return rows_loss(model, model.embed_images(batch.batch.pixels), replace(batch.batch, groups=groups), self.learning)

    def describe(self) -> Mapping[str, Any]:
        return {**super().describe(), "prefix_too": self.prefix_too}


def all_text(rows: TextRows) -> TextRows:
    """Move all text after BOS into the suffix, so that it is causal and learned.

    >>> rows = TextRows(torch.tensor([0]), torch.tensor([[2, 9, 4, 0]]), torch.tensor([[7, 1]]), torch.ones(1, 2).bool())
    >>> moved = all_text(rows)
    >>> moved.prefix.tolist(), moved.suffix.tolist()
    ([[2]], [[9, 4, 7, 1]])
    """
    every = torch.cat((rows.prefix[:, 1:], rows.suffix), 1)
    marks = torch.cat((rows.prefix[:, 1:] != 0, rows.learned), 1)
    suffix, learned = (
        pad_sequence([row[ids != 0] for row, ids in zip(part, every, strict=True)], batch_first=True) for part in (every, marks)
    )
    return TextRows(rows.of, rows.prefix[:, :1], suffix, learned)


class WithNoise:
    """Samples with shuffled lists of boxes, filled up with noise; see `detection_pair`."""

    def __init__(self, samples: SampleSource, count: int):
        self.samples, self.count = samples, count

    def __len__(self) -> int:
        return len(self.samples)

    def draw(self, seed: int, number: int) -> ImageTexts:
        """Draw a sample; any text besides boxes is dropped."""
        sample, rng = self.samples.draw(seed, number), np.random.default_rng([seed, number, 71])
        return replace(sample, pairs=tuple(self._filled(pair, rng) for pair in sample.pairs))

    def _filled(self, pair: TextPair, rng: np.random.Generator) -> TextPair:
        boxes = parse(pair.suffix, int(PROBE), int(PROBE)).boxes
        return replace(detection_pair(boxes, int(PROBE), int(PROBE), self.count, rng), prefix=pair.prefix)

    def about(self) -> dict[str, Any]:
        return {**getattr(self.samples, "about", dict)(), "noise_boxes": self.count}


@dataclass(frozen=True)
class ExactChecks(Checks):
    """Scores the share of greedy answers that are letter for letter one of the right ones."""

    lines: JsonLinesSamples
    tokens: Tokens
    most: int = 1000
    longest: int = 64

    def __call__(self, model: nn.Module) -> Mapping[str, float]:
        assert isinstance(model, PaliGemma)
        right: list[bool] = []
        for start in range(0, min(len(self.lines), self.most), BATCH):
            read = [self.lines.read(i) for i in range(start, min(start + BATCH, len(self.lines), self.most))]
            texts = answers_to(model, self.tokens, [sample for sample, _ in read], self.longest)
            known = [answers for _, every in read for answers in every]
            right += [text in answers for text, answers in zip(texts, known, strict=True)]
        return {"exact": float(np.mean(right))}


@torch.no_grad()
def answers_to(model: PaliGemma, tokens: Tokens, samples: Sequence[ImageTexts], longest: int) -> list[str]:
    """Write the most likely answer to each text of each sample, in order."""
    [rows] = collate(samples, tokens).groups
    device = next(model.parameters()).device
    image_tokens = model.embed_images(torch.from_numpy(np.stack([sample.pixels for sample in samples])).to(device))
    session = PrefixDecodingState(model, image_tokens[rows.of.to(device)], rows.prefix.to(device), longest)
    return [tokens.decode(ids) for ids in greedy(session, longest, (model.config.end,))]


def unmade_model(run: PaliGemmaTransfer, config: PaliGemmaConfig) -> PaliGemma:
    """Make the model that a run trains on the device "meta": with its low-rank updates, and frozen where the run says so."""
    with torch.device("meta"):
        model = PaliGemma(config)
        if run.lora_rank:
            low_rank(model, run)
    freeze_where(model, lambda name: any(fnmatch(name, rule.pattern) for rule in run.rules()))
    return model
