"""Training of the mask codec: a reconstruction loss, and codes that are moving averages of the encoder's output.

Source: All in Tokens (arXiv 2301.02229) and its public code; codes as moving averages after VQ-VAE (arXiv 1711.00937, A.1).

    loss = mean (decoded - mask)^2 + commitment x mean (features - stop(code))^2         masks from -1 to 1
    code = moving average of the features nearest to it; gradients pass the choice straight through

Data are masks of objects, cropped to their boxes, mirrored, transposed and coarsened: of a folder with masks/*.png whose pixels
are instance numbers, 0 for none (`tapetum scenes images`), or of a COCO instances file (Lin et al., arXiv 1405.0312), with
run-length texts or polygons; crowds are left out.

Differs from the paper: see `masks.config`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import mse_loss, one_hot
from torch.utils.data import Dataset

from tapetum.core.errors import BadInput
from tapetum.core.reading import no_pipe, read_json
from tapetum.data.rle import segmentation_mask
from tapetum.data.samples import Shuffle, sample_generator
from tapetum.systems.paligemma.masks import codec as mask_codec
from tapetum.systems.paligemma.masks.codec import MaskCodec, cut_out
from tapetum.systems.paligemma.masks.config import MaskCodecRun
from tapetum.train import StepContext, Task, fit
from tapetum.train.gather import all_reduce
from tapetum.train.launch import is_main
from tapetum.train.launch_config import Launch, train_config
from tapetum.train.process_group import compute_shared, current_process_group
from tapetum.types import Masks

LEAST = 24
"""Pixels of a mask; smaller ones have no shape."""
COARSE = 10, 48
"""Pixels of the longest side to which half of the masks are brought first, for things that are small in their images."""


class MaskCrops(Dataset):
    """Masks by number, float32 (64, 64) from 0 to 1, a function of (seed, number); without `varied`, in order and unchanged."""

    def __init__(self, crops: Sequence[Bool[np.ndarray, "_h _w"]], seed: int = 0, *, varied: bool = True):
        if not crops:
            raise BadInput("there are no masks to learn from; give folders that tapetum scenes images made")
        self.crops, self.seed, self.varied = list(crops), seed, varied
        self._order = Shuffle(len(self.crops), seed)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, number: int) -> Float[Tensor, "64 64"]:
        if not self.varied:
            return torch.from_numpy(_square(self.crops[number]))
        rng = sample_generator(self.seed, number)
        mask = self.crops[self._order(number)]
        mask = mask[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
        if rng.random() < 0.5:
            mask = mask.T
        if rng.random() < 0.5:
            mask = coarser(mask, int(rng.integers(*COARSE)))
        return torch.from_numpy(_square(mask))


def _square(mask: Bool[np.ndarray, "h w"]) -> np.ndarray:
    return cut_out(np.ascontiguousarray(mask), (0, 0, mask.shape[1], mask.shape[0]))


def coarser(mask: Bool[np.ndarray, "h w"], longest: int) -> Bool[np.ndarray, "h2 w2"]:
    """Downsample a mask until its longest side is `longest` pixels; a smaller one stays."""
    scale = longest / max(mask.shape)
    if scale >= 1:
        return mask
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    small = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)) > 127
    return small if small.any() else mask


def read_crops(places: Sequence[str | Path]) -> list[Bool[np.ndarray, "_h _w"]]:
    """Read all masks of folders and files, cropped to their boxes. Raises BadInput if one cannot be read or has none."""
    crops: list[np.ndarray] = []
    for place in map(Path, places):
        before = len(crops)
        masks = _of_folder(place) if place.is_dir() else _of_coco(place)
        crops += [mask for mask in masks if mask.sum() >= LEAST]
        if len(crops) == before:
            raise BadInput(f"{place} holds no masks of {LEAST} pixels or more; give one that does")
    return crops


def _of_folder(folder: Path) -> Iterator[np.ndarray]:
    from tapetum.video.images import folder_of_images

    if not (folder / "masks").is_dir():
        raise BadInput(f"{folder} has no folder masks; give one that tapetum scenes images made, or a file of COCO's instances")
    for path in folder_of_images(folder / "masks"):
        try:
            ids = np.asarray(Image.open(no_pipe(path)))
        except (OSError, ValueError) as error:
            raise BadInput(f"{path} is damaged ({str(error)[:100]}); replace it or take it out of the folder") from error
        if ids.ndim != 2:
            raise BadInput(f"{path} is no grey image of numbers of instances; give masks as tapetum scenes images makes them")
        for number in np.unique(ids[ids > 0]):
            yield _tight(ids == number)


def _of_coco(path: Path) -> Iterator[np.ndarray]:
    try:
        content = read_json(path)
        sizes = {image["id"]: (int(image["height"]), int(image["width"])) for image in content["images"]}
        annotations = list(content["annotations"])
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror or error}; give a file of COCO's instances") from error
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} holds no instances as COCO has them ({type(error).__name__}: {error}); give such a file"
        ) from error
    for entry in annotations:
        if entry.get("segmentation") and not entry.get("iscrowd"):
            mask = segmentation_mask(entry["segmentation"], sizes[entry["image_id"]])
            if mask.any():
                yield _tight(mask)


def _tight(mask: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = Masks(masks=mask[None]).boxes.xyxy[0].astype(int)
    return mask[y1:y2, x1:x2].copy()


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
        return LearningCodec(self.run)

    def dataset(self) -> MaskCrops:
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

        def compute(number: int) -> Tensor:
            masks = torch.stack([self.checks[k] for k in range(256 * number, min(256 * number + 256, len(self.checks)))])
            return iou(model(masks.to(next(model.parameters()).device))[0].cpu(), masks)

        return {"iou": float(torch.cat(compute_shared(compute, -(-len(self.checks) // 256))).mean())}

    def describe(self) -> Mapping[str, Any]:
        return {**asdict(self.run), "masks": len(self.masks), "checks": len(self.checks)}


def iou(decoded: Float[Tensor, "n 64 64"], masks: Float[Tensor, "n 64 64"]) -> Float[Tensor, " n"]:
    """Compute the IoU of reconstructions, above 0, with masks from 0 to 1, above a half."""
    one, other = decoded > 0, masks > 0.5
    return (one & other).sum((1, 2)) / (one | other).sum((1, 2)).clamp(min=1)


def train_masks(run: MaskCodecRun, launch: Launch, say: Callable[[str], None] = print) -> tuple[Path, dict[str, float]] | None:
    """Train in the folder `launch.out`; the same call resumes a stopped run. Returns the file of weights and the scores.

    Returns None if there is more to do. Raises BadInput for data that is missing or has no masks.
    """
    crops: Sequence[np.ndarray] = read_crops(run.data)
    if run.check:
        checks: Sequence[np.ndarray] = read_crops(run.check)
    else:
        order, kept = np.random.default_rng(run.seed).permutation(len(crops)), max(1, len(crops) // 20)
        checks, crops = ([crops[k] for k in sorted(part)] for part in (order[:kept], order[kept:]))
    task = MaskCodecTask(run, MaskCrops(crops, run.seed), MaskCrops(checks, varied=False))
    say(f"train: {len(task.masks):,} masks; check: {len(task.checks):,}")
    config = train_config(
        run, launch, micro_batch=run.micro_batch, weight_decay=0.0, clip_norm=1.0, eval_every=max(1, run.steps // 10)
    )
    result = fit(task, config, launch.out, began=launch.began)
    if result.state == "stopped":
        return None
    path = launch.out / "paligemma-masks.safetensors"
    if is_main():
        model = result.model
        assert isinstance(model, LearningCodec)
        mask_codec.save(model.codec, path)
    return path, result.scores
