"""Predicted errors of tracks: how far a place is off in the median, and the chance that it is off by more than `WRONG` pixels.

Not part of TAPIR, whose confidence does not say by how much a place is off. A small network looks at the cues that tracking
leaves behind (`cues`), frame by frame and then along each track. It belongs to one tracker, whose weights its file names:

    cues (n, t, c) --> linear --> 2 x (7 frames of each channel --> linear) --> log(1 + median error), log-odds of an error > 8

For live frames there is one of its own, which looks at one frame's cues alone, those known until then (`cues.LiveCues`).

`python evidence/tap-doubt/train.py` trains that of tapir-nano on clips with exact tracks, by the pinball loss (Koenker and
Bassett, Econometrica 46, 1978) and by binary cross-entropy. How good it is: docs/evidence/tap-doubt.md. `learn_errors` trains
that of any tracker in the same way, on fewer clips; without a second pass and polish, on cues of the tracks alone (`FEW`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tapetum.core.errors import BadInput
from tapetum.core.identity import fingerprint
from tapetum.hub.headed import load_headed, save_headed
from tapetum.systems.tap.tracking.cues import AT_A_TIME, FEW, LIVE, NETWORK, TrackCues, cue_array, live_cue_array
from tapetum.systems.tap.types import Size
from tapetum.tracks.training.clips import TrackedClip
from tapetum.types import Tracks

WRONG = 8.0
"""Pixels of an image whose shorter side has 256; a place is wrong where it is off by more."""
TAPS, DILATIONS = 7, (1, 4)
"""Frames that a block looks at, and how far apart."""
_KEY = "error_model"
_FARTHEST = 6.0
"""Most that log(1 + error) is predicted to be."""


class ErrorModel(nn.Module):
    """Predicts errors of the tracks of one tracker."""

    def __init__(self, weights: str, cues: int, width: int = 32):
        super().__init__()
        self.weights, self.width = weights, width
        """SHA-256 of the tracker's weights."""
        self.centre: Tensor
        self.scale: Tensor
        self.register_buffer("centre", torch.zeros(cues))
        self.register_buffer("scale", torch.ones(cues))
        self.inward = nn.Linear(cues, width)
        taps = 1 if cues == LIVE else TAPS  # a live frame has no others
        self.taps = nn.ModuleList(
            [nn.Conv1d(width, width, taps, padding=d * (taps // 2), dilation=d, groups=width) for d in DILATIONS]
        )
        self.mix = nn.ModuleList([nn.Linear(width, width) for _ in DILATIONS])
        self.outward = nn.Linear(width, 2)

    @property
    def few(self) -> bool:
        """Check whether it looks at finished tracks alone, without cues of the network and the patches."""
        return self.inward.in_features == FEW

    def forward(self, cues: Float[Tensor, "n t c"]) -> Float[Tensor, "n t 2"]:
        """Compute log(1 + median error in pixels of 256) and the log-odds of an error above `WRONG`, from as many of the last
        cues as it knows; a NaN cue is no cue."""
        cues = cues[..., -len(self.centre) :]
        x = F.gelu(self.inward(((cues - self.centre) / self.scale).clamp(-5, 5).nan_to_num(0.0)))
        for taps, mix in zip(self.taps, self.mix, strict=True):
            x = x + mix(F.gelu(taps(x.mT).mT))
        length, odds = self.outward(x).unbind(-1)
        return torch.stack([F.softplus(length), odds], -1)

    @torch.inference_mode()
    def predict(
        self,
        cues: TrackCues,
        xy: Float[np.ndarray, "n t 2"],
        confidence: Float[np.ndarray, "n t"],
        queries: Float[np.ndarray, "n 3"],
    ) -> tuple[Float32[np.ndarray, "n t"], Float32[np.ndarray, "n t"]]:
        """Predict the median error in pixels of the video, and the chance that it is above `WRONG`; 0 at queries on a frame."""
        arrays = torch.from_numpy(xy), torch.from_numpy(confidence), torch.from_numpy(queries)
        parts = [slice(first, first + AT_A_TIME) for first in range(0, len(xy), AT_A_TIME)]
        length, odds = torch.cat([self(cue_array(cues, *arrays, part)) for part in parts]).unbind(-1)
        error, chance = length.clamp(max=_FARTHEST).expm1().numpy() * cues.pixel, odds.sigmoid().numpy()
        known = np.arange(xy.shape[1]) == queries[:, :1]
        return np.where(known, np.float32(0), error), np.where(known, np.float32(0), chance)

    def complete(self, tracks: Tracks, size: Size) -> Tracks:
        """Add predicted errors to the finished tracks of a video of (height, width) `size`, by cues of the tracks alone."""
        cues = TrackCues(tracks.points, tracks.frames, size)
        errors = self.predict(cues, tracks.xy, tracks.confidence, tracks.queries)
        known = np.zeros(tracks.visible.shape, bool) if tracks.clicked is None else tracks.clicked
        error, chance = (np.where(known, np.float32(0), each) for each in errors)
        return replace(tracks, error_px=error, chance_wrong=chance)

    def save(self, path: Path) -> None:
        """Write the model to a safetensors file, or nothing."""
        about = {"weights": self.weights, "cues": self.inward.in_features, "width": self.width}
        save_headed(self, path, _KEY, about)


def load_error_model(path: Path, weights: str, live: bool = False) -> ErrorModel:
    """Load the error model of the tracker whose weights have the SHA-256 `weights` (16 digits count). Raises BadInput for any
    other file."""

    def maker(about: Mapping[str, Any]) -> Any:
        if str(about["weights"])[:16] != weights[:16]:
            raise BadInput(f"{path} predicts errors of another tracker; remove it, or make one: tapetum bootstrap --calibrate")
        if about["cues"] not in ((LIVE,) if live else (FEW, NETWORK + FEW)):
            raise BadInput(f"{path} looks at {about['cues']} cues, and there are {LIVE if live else NETWORK + FEW}")
        return lambda: ErrorModel(str(about["weights"]), int(about["cues"]), int(about["width"]))

    model = load_headed(path, _KEY, "error model", maker)
    assert isinstance(model, ErrorModel)
    return model


def errors_file(weights: Path, live: bool = False) -> Path:
    """Name the file of the error model that lies beside a tracker's weights, or of that for live frames."""
    return weights.with_name(f"{weights.stem}{'-live' * live}-errors.safetensors")


def with_errors(tracker: Any, weights: Path) -> Any:
    """Let a tracker predict its errors if an error model lies beside its weights, which must be of this tracker."""
    if tracker.error_model is None and errors_file(weights).is_file():
        tracker.error_model = load_error_model(errors_file(weights), fingerprint(weights))
    if getattr(tracker, "live_error_model", tracker) is None and errors_file(weights, True).is_file():
        tracker.live_error_model = load_error_model(errors_file(weights, True), fingerprint(weights), live=True)
    return tracker


POINTS = 64
FEWEST_CLIPS = 4
CLIPS, AVERAGED = 3, 0.98
"""Clips of a step of training, and the share of earlier weights in the moving average, which is what is checked and kept."""
DROPPED = 0.1
"""Share of single cues that are left out of a clip in training."""
HIDDEN = 0.1
"""Weight of places that do not count: those that the tracker calls hidden, and queries."""

Example = tuple[Float[Tensor, "n t c"], Float[Tensor, "n t"], Bool[Tensor, "n t"]]
"""Cues, errors in pixels of 256, and which places count: those that the tracker calls visible, but for queries."""


def learn_errors(
    tracker: Any, clips: Iterable[TrackedClip], weights: Path, progress: Callable[[int], None] = lambda done: None
) -> tuple[ErrorModel, dict[str, float]]:
    """Train the error model of a tracker on clips with exact tracks; every fourth only ends the training and is scored.

    Returns the model, and of the scored clips the number of `places`, the share of `wrong` ones, and the shares of these among
    the tenth of the places doubted most by the model (`caught`) and by the confidence (`by_confidence`). Raises BadInput for
    fewer than four clips, and if no place is wrong.
    """
    rng, examples, confidences = np.random.default_rng(0), [], []
    for clip in clips:
        example, confidence = _example(tracker, clip, rng)
        examples.append(example)
        confidences.append(confidence)
        progress(len(examples))
    if len(examples) < FEWEST_CLIPS:
        raise BadInput(f"there are {len(examples)} made clips; errors are learned from {FEWEST_CLIPS} and more: give --scenes")
    train, check = [one for k, one in enumerate(examples) if k % 4 != 3], examples[3::4]
    wrong = torch.cat([error[counted] > WRONG for _, error, counted in check])
    if not wrong.any():
        raise BadInput(f"of {len(wrong)} places in {len(check)} made clips none is wrong: there is nothing to learn from")
    model, _ = fit_errors(train, check, fingerprint(weights), steps=300, width=32)
    with torch.inference_mode():
        doubts = {"caught": torch.cat([model(cues)[counted][:, 1] for cues, _, counted in check])}
    sure = zip(confidences[3::4], check, strict=True)
    doubts["by_confidence"] = torch.cat([-confidence[counted] for confidence, (_, _, counted) in sure])
    most = {name: doubt.argsort(descending=True)[: len(wrong) // 10] for name, doubt in doubts.items()}
    caught = {name: float(wrong[rows].sum() / wrong.sum()) for name, rows in most.items()}
    return model, {"places": len(wrong), "wrong": float(wrong.float().mean()), **caught}


class CueRecorder:
    """Stands where a tracker has its error model, and keeps what that would see; it predicts nothing."""

    few = False
    cues: TrackCues | None = None

    def predict(
        self, cues: TrackCues, xy: np.ndarray, confidence: np.ndarray, queries: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keep cues, positions and confidences of the clicks."""
        self.cues, self.tracks = cues, {"xy": xy, "confidence": confidence, "queries": queries}
        return np.zeros(xy.shape[:2], np.float32), np.zeros(xy.shape[:2], np.float32)


def example_of(
    cues: TrackCues,
    xy: np.ndarray,
    confidence: np.ndarray,
    queries: np.ndarray,
    truth: Float[np.ndarray, "n t 2"],
    live: bool = False,
) -> Example:
    """Make an example of a clip's cues and exact tracks (NaN: unknown); with `live`, one of live frames, from each point's
    query on."""
    arrays = torch.from_numpy(xy), torch.from_numpy(confidence), torch.from_numpy(queries)
    error = (arrays[0] - torch.from_numpy(truth)).norm(dim=-1) / cues.pixel
    at_query = torch.arange(xy.shape[1]) == arrays[2][:, :1].round()
    if live:
        error = torch.where(torch.arange(xy.shape[1]) < arrays[2][:, :1].round(), torch.nan, error)
    counted = (arrays[1] > 0.5) & ~at_query & error.isfinite()
    return (live_cue_array if live else cue_array)(cues, *arrays), error, counted


def _example(tracker: Any, clip: TrackedClip, rng: np.random.Generator) -> tuple[Example, Float[Tensor, "n t"]]:
    """Track points of a clip, each from a frame in which it is visible; gives the example, and the confidences."""
    rows = rng.permutation(np.flatnonzero(clip.visible.any(1)))[:POINTS]
    at = np.array([rng.choice(np.flatnonzero(clip.visible[row])) for row in rows])
    video = clip.video[0 : len(clip.video)]
    height, width = video.shape[1:3]
    queries = np.column_stack([at, clip.xy[rows, at].clip(0, (width, height))]).astype(np.float32)
    tracker.error_model = recorder = CueRecorder()
    tracks = tracker.track(video, queries)
    whole = recorder.cues is not None
    collected = recorder.cues or TrackCues(tracks.points, tracks.frames, (height, width))
    cues, error, counted = example_of(collected, tracks.xy, tracks.confidence, tracks.queries, clip.xy[rows])
    return (cues if whole else cues[..., -FEW:], error, counted), torch.from_numpy(tracks.confidence)


def _losses(model: nn.Module, example: Example) -> Float[Tensor, "n t 2"]:
    """Pinball loss of the median of log(1 + error), and cross entropy of an error above WRONG; 0 where the error is unknown."""
    cues, error, _ = example
    length, odds = model(cues).unbind(-1)
    error = torch.where(known := error.isfinite(), error, 0.0).float()
    entropy = F.binary_cross_entropy_with_logits(odds, (error > WRONG).float(), reduction="none")
    return torch.stack([(length - error.log1p()).abs() / 2, entropy], -1) * known[..., None]


def _left_out(cues: Float[Tensor, "n t c"], rng: np.random.Generator) -> Float[Tensor, "n t c"]:
    """Leave out some cues at random, and those of the way back or of the group, as a tracker may not have them."""
    cues = cues.masked_fill(torch.from_numpy(rng.random(cues.shape[-1]) < DROPPED), torch.nan)
    for part, share in ((slice(-FEW - 4, -FEW), 0.1), (slice(-FEW, -FEW + 4), 0.15)):
        if cues.shape[-1] != LIVE and rng.random() < share:
            cues[..., part] = torch.nan
    return cues


def fit_errors(
    train: list[Example], check: list[Example], weights: str, *, steps: int = 1500, width: int = 64
) -> tuple[ErrorModel, list[dict[str, float]]]:
    """Train the error model of the tracker whose weights have the SHA-256 `weights`; returns the model after the step that is
    best on the places of `check` that count, and the losses there as it went."""
    rng, rate = np.random.default_rng(0), 3e-3
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = ErrorModel(weights, train[0][0].shape[-1], width)
    every = torch.cat([cues[counted] for cues, _, counted in train])
    model.centre.copy_(every.nanmean(0).nan_to_num(0.0))
    model.scale.copy_((every - model.centre).square().nanmean(0).sqrt().nan_to_num(0.0).clamp(min=1e-3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps, pct_start=0.1)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED), use_buffers=True)
    best, state, log = np.inf, model.state_dict(), []
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        for number in rng.choice(len(train), min(CLIPS, len(train)), replace=False):
            cues, error, counted = train[number]
            weight = torch.where(counted, 1.0, HIDDEN)
            losses = _losses(model, (_left_out(cues, rng), error, counted))
            ((losses.sum(-1) * weight).sum() / weight.sum() / CLIPS).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        averaged.update_parameters(model)
        if step % 50 == 0:
            with torch.no_grad():
                losses = torch.cat([_losses(averaged, example)[example[2]] for example in check]).mean(0)
            log.append({"step": step, "pinball": losses[0].item(), "cross_entropy": losses[1].item()})
            if losses.sum() < best:
                best, state = float(losses.sum()), {name: value.clone() for name, value in averaged.module.state_dict().items()}
    model.load_state_dict(state)
    return model.eval(), log
