"""Learning the codec of masks: what is drawn again from 16 codes, and codes that follow what the encoder says.

Source: All in Tokens (arXiv 2301.02229) and its public code; codes as moving averages after VQ-VAE (arXiv 1711.00937, A.1).

    loss = mean (drawn - mask)^2 + commitment x mean (said - stop(code))^2         masks from -1 to 1
    code = moving average of what was said where it was nearest; gradients pass the choice as if it were not there

Differs from it: see `mask_config`.
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
    """A codec with the moving averages that make its codes: how many places chose each, and the sum of what they said."""

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
        """Draw masks again; give them, how far from its codes was what was said, and the codes, which move in training."""
        said = self.codec.features(masks)
        chosen = self.codec.nearest(said.detach())
        codes = self.codec.codebook[chosen]
        distance = mse_loss(said, codes)
        drawn = self.codec.draw(said + (codes - said).detach())
        if self.training:
            self.follow(said.detach().flatten(0, 1), chosen.flatten(), generator)
        return drawn, distance, chosen

    @torch.no_grad()
    def follow(self, said: Float[Tensor, "m d"], chosen: Int[Tensor, " m"], generator: torch.Generator | None) -> None:
        """Move codes to the mean of what was said near them, over all processes."""
        decay = self.run.code_decay
        choice = one_hot(chosen, self.run.config.codes).to(said)
        self.counts.mul_(decay).add_(all_reduce(choice.sum(0)), alpha=1 - decay)
        self.sums.mul_(decay).add_(all_reduce(choice.T @ said), alpha=1 - decay)
        self._restart(said, generator)
        total = self.counts.sum()
        smooth = (self.counts + _EPSILON) / (total + len(self.counts) * _EPSILON) * total
        self.codec.codebook.copy_(self.sums / smooth[:, None])

    def _restart(self, said: Tensor, generator: torch.Generator | None) -> None:
        """Puts codes that hardly any place chooses where something of this batch was said; one process draws for all."""
        lost = self.counts < self.run.restart_below
        world = current_process_group()
        drawn = said[torch.randint(len(said), (len(self.counts),), generator=generator, device=said.device)]
        drawn = all_reduce(drawn if world.rank == 0 else torch.zeros_like(drawn))
        self.sums.copy_(torch.where(lost[:, None], drawn, self.sums))
        self.counts.copy_(torch.where(lost, 1.0, self.counts))


class MaskCodecTask(Task):
    """Masks through 16 codes and back; `checks` are never trained on."""

    def __init__(self, run: MaskCodecRun, masks: MaskCrops, checks: MaskCrops):
        self.run, self.masks, self.checks = run, masks, checks

    def model(self) -> nn.Module:
        """Make a new codec."""
        return LearningCodec(self.run)

    def dataset(self) -> MaskCrops:
        """Give masks by number."""
        return self.masks

    def loss(self, model: nn.Module, batch: Float[Tensor, "n 64 64"], context: StepContext) -> tuple[Tensor, dict[str, Any]]:
        """Compute the squared error of what is drawn and the commitment; log both, the IoU, and how many codes are in use."""
        drawn, distance, chosen = model(batch, context.generator)
        error = mse_loss(drawn, 2 * batch - 1)
        used = torch.bincount(chosen.flatten(), minlength=self.run.config.codes).float()
        share = used / used.sum()
        perplexity = (-(share * (share + 1e-10).log()).sum()).exp()
        numbers = {"drawn": error.detach(), "said": distance.detach(), "iou": iou(drawn.detach(), batch).mean()}
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
        """List what the run depends on."""
        return {**asdict(self.run), "masks": len(self.masks), "checks": len(self.checks)}


def iou(drawn: Float[Tensor, "n 64 64"], masks: Float[Tensor, "n 64 64"]) -> Float[Tensor, " n"]:
    """Compare what was drawn, above 0, with masks from 0 to 1, above a half."""
    one, other = drawn > 0, masks > 0.5
    return (one & other).sum((1, 2)) / (one | other).sum((1, 2)).clamp(min=1)


def train_masks(run: MaskCodecRun, launch: Launch, say: Callable[[str], None] = print) -> tuple[Path, dict[str, float]] | None:
    """Train in the folder `launch.out`; the same call goes on after a stop. Gives the file of weights and scores.

    Returns None if there is more to do. Raises BadInput for data that is not there or holds no masks.
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
