"""Training of the mask codec: a reconstruction loss, and codes that are moving averages of the encoder's output.

Source: All in Tokens (arXiv 2301.02229) and its public code; codes as moving averages after VQ-VAE (arXiv 1711.00937, A.1).

    loss = mean (decoded - mask)^2 + commitment x mean (features - stop(code))^2         masks from -1 to 1
    code = moving average of the features nearest to it; gradients pass the choice straight through

Differs from it: see `masks.config`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot

from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.codec import MaskCodec
from tapetum.systems.paligemma.masks.config import MaskCodecRun
from tapetum.systems.paligemma.masks.data import MaskCrops, read_crops
from tapetum.train import StepContext, Task, fit
from tapetum.train.gather import all_reduce
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.process_group import current_process_group

_EPSILON = 1e-5


class LearningCodec(nn.Module):
    """A codec with the moving averages behind its codes: how many cells chose each, and the sum of their features."""

    counts: Tensor
    sums: Tensor

    def __init__(self, run: MaskCodecRun):
        super().__init__()
        self.run = run
        self.codec = MaskCodec(run.config)
        self.register_buffer("counts", torch.zeros(run.config.codes))
        self.register_buffer("sums", self.codec.codebook.clone())

    def forward(
        self, masks: Float[Tensor, "n 64 64"], generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "n 64 64"], Float[Tensor, ""], Int[Tensor, "n 16"]]:
        """Reconstruct masks; also the squared distance of features to their codes, and the codes, which move in training."""
        features = self.codec.features(masks)
        chosen = self.codec.nearest(features.detach())
        codes = self.codec.codebook[chosen]
        distance = mse_loss(features, codes)
        decoded = self.codec.draw(features + (codes - features).detach())
        if self.training:
            self.follow(features.detach().flatten(0, 1), chosen.flatten(), generator)
        return decoded, distance, chosen

    @torch.no_grad()
    def follow(self, features: Float[Tensor, "m d"], chosen: Int[Tensor, " m"], generator: torch.Generator | None) -> None:
        """Move codes to the mean of the features nearest to them, over all processes (arXiv 1711.00937, A.1)."""
        decay = self.run.code_decay
        choice = one_hot(chosen, self.run.config.codes).to(features)
        self.counts.mul_(decay).add_(all_reduce(choice.sum(0)), alpha=1 - decay)
        self.sums.mul_(decay).add_(all_reduce(choice.T @ features), alpha=1 - decay)
        self._restart(features, generator)
        total = self.counts.sum()
        smooth = (self.counts + _EPSILON) / (total + len(self.counts) * _EPSILON) * total
        self.codec.codebook.copy_(self.sums / smooth[:, None])

    def _restart(self, features: Tensor, generator: torch.Generator | None) -> None:
        """Replace codes that hardly any cell chooses by features of this batch; one process draws for all."""
        unused = self.counts < self.run.restart_below
        world = current_process_group()
        restarted = features[torch.randint(len(features), (len(self.counts),), generator=generator, device=features.device)]
        restarted = all_reduce(restarted if world.rank == 0 else torch.zeros_like(restarted))
        self.sums.copy_(torch.where(unused[:, None], restarted, self.sums))
        self.counts.copy_(torch.where(unused, 1.0, self.counts))


class MaskCodecTask(Task):
    """Reconstruction of masks through 16 codes; `checks` are never trained on."""

    def __init__(self, run: MaskCodecRun, masks: MaskCrops, checks: MaskCrops):
        self.run, self.masks, self.checks = run, masks, checks

    def model(self) -> nn.Module:
        """Make a new codec."""
        return LearningCodec(self.run)

    def dataset(self) -> MaskCrops:
        """Build the data set of masks by number."""
        return self.masks

    def loss(self, model: nn.Module, batch: Float[Tensor, "n 64 64"], context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        """Compute the squared error of the reconstruction and the commitment; log both, IoU, and the codes in use."""
        decoded, distance, chosen = model(batch, context.generator)
        error = mse_loss(decoded, 2 * batch - 1)
        used = one_hot(chosen.flatten(), self.run.config.codes).float().sum(0)
        share = used / used.sum()
        perplexity = (-(share * (share + 1e-10).log()).sum()).exp()
        numbers = {"drawn": error.detach(), "said": distance.detach(), "iou": iou(decoded.detach(), batch).mean()}
        return error + self.run.commitment * distance, {**numbers, "codes_used": perplexity}

    def evaluate(self, model: nn.Module, step: int) -> Mapping[str, float]:
        """Score the round trip of the checks at 64x64 pixels."""
        scores = []
        for start in range(0, len(self.checks), 256):
            masks = torch.stack([self.checks[k] for k in range(start, min(start + 256, len(self.checks)))])
            device = next(model.parameters()).device
            scores.append(iou(model(masks.to(device))[0].cpu(), masks))
        return {"iou": float(torch.cat(scores).mean())}

    def describe(self) -> Mapping[str, Any]:
        """Describe the run, for checkpoints."""
        return {**asdict(self.run), "masks": len(self.masks), "checks": len(self.checks)}


def iou(decoded: Float[Tensor, "n 64 64"], masks: Float[Tensor, "n 64 64"]) -> Float[Tensor, " n"]:
    """Compute the IoU of reconstructions, above 0, with masks from 0 to 1, above a half."""
    one, other = decoded > 0, masks > 0.5
    return (one & other).sum((1, 2)) / (one | other).sum((1, 2)).clamp(min=1)


def train_masks(run: MaskCodecRun, launch: Launch, say: Callable[[str], None] = print) -> tuple[Path, dict[str, float]] | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. Returns the file of weights and the scores.

    Returns None if there is more to do. Raises BadInput for data that is missing or has no masks.
    """
    task = MaskCodecTask(run, *_masks(run))
    say(f"train: {len(task.masks):,} masks; check: {len(task.checks):,}")
    config = train_config(
        run, launch, micro_batch=run.micro_batch, weight_decay=0.0, clip_norm=1.0, eval_every=max(1, run.steps // 10)
    )
    result = fit(task, config, launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    model = result.model.eval()
    assert isinstance(model, LearningCodec)
    path = launch.out / "paligemma-masks.safetensors"
    if is_main():
        mask_codec.save(model.codec, path)
    with torch.no_grad():
        return path, {"iou": task.evaluate(model, result.step)["iou"]}


def _masks(run: MaskCodecRun) -> tuple[MaskCrops, MaskCrops]:
    crops: Sequence[np.ndarray] = read_crops(run.data)
    if run.check:
        checks: Sequence[np.ndarray] = read_crops(run.check)
    else:
        order = np.random.default_rng(run.seed).permutation(len(crops))
        kept = max(1, len(crops) // 20)
        checks = [crops[k] for k in sorted(order[:kept])]
        crops = [crops[k] for k in sorted(order[kept:])]
    return MaskCrops(crops, run.seed), MaskCrops(checks, varied=False)
