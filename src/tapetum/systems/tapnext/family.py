"""TAPNext in self-training (BootsTAPNext): its networks, and its losses on pseudo-labels.

Source: TAPNext (arXiv 2504.05579) was bootstrapped by the recipe of BootsTAP (arXiv 2402.00847). No settings are published but
some 1,500 steps, so how the recipe is applied to this network is ours:

    teacher   two passes, forwards and over the reversed clip: labels before its query too, of which half of the queries of
              students are made; in the frame of its query a point is where it was asked for, as `TapNextTracker` says
    student   one pass: before its query it predicts nothing, and nothing counts
    doubt     the label is believed as far as the bins say that it is within 8 pixels (`compute_certainty`), where TAPIR has its
              expected distance
    losses    those of exact tracks, of the tokens after each block, in the student's frames; hidden points have no position

Networks see frames at the size at which their tracker sees them, whatever the size of the clips.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.layers.sampling import resize_frames, scale_xy
from tapetum.systems.tapnext import tracker, weights
from tapetum.systems.tapnext.model import TapNext, TapNextPredictions
from tapetum.systems.tapnext.task import compute_clip_loss, make_targets, tracking_losses
from tapetum.systems.tapnext.tracker import TapNextTracker
from tapetum.tracks.training.data import TapSample
from tapetum.tracks.training.self_training import FootageTargets, PointEstimate, TrackerFamily
from tapetum.tracks.training.tracker_task import add_terms
from tapetum.train.optim import decay_groups

NO_DOUBT = 20.0
"""Size of the logits of what is beyond doubt."""


class TapNextFamily(TrackerFamily):
    """Networks and losses of TAPNext, for a run that starts from the weights `model`, a name or a file.

    `rebalance` is how much more visible frames weigh in the visibility loss of pseudo-labels.
    """

    causal = True

    def __init__(self, model: str, *, rebalance: float = 0.0):
        self.model, self.rebalance = model, rebalance

    def start(self) -> TapNext:
        return tracker.load(self.model).model

    def learner(self) -> TapNext:
        """Make the network that learns: a copy of the start, without what speeds up its use."""
        start = self.start()
        network = TapNext(start.config)
        network.load_state_dict(start.state_dict())
        return network

    def clip_loss(self, network: nn.Module, batch: TapSample) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        model = cast(TapNext, network)
        source, target = (batch.video.shape[2], batch.video.shape[3]), model.config.video_size
        video, queries = _resize_inputs(model, batch.video, batch.queries)
        return compute_clip_loss(model, replace(batch, video=video, queries=queries, xy=scale_xy(batch.xy, source, target)))

    def estimate(self, network: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]) -> PointEstimate:
        """Track points forwards, and backwards before the frame of their query."""
        model, size = cast(TapNext, network), (video.shape[2], video.shape[3])
        frames, points = _resize_inputs(model, video, queries)
        times, last = points[..., :1].round(), video.shape[1] - 1
        forwards = _read(model(frames, points), model, size)
        turned = torch.cat([last - times, points[..., 1:]], -1)
        backwards = PointEstimate(*(part.flip(2) for part in _read(model(frames.flip(1), turned), model, size)))
        number = torch.arange(video.shape[1], device=video.device)
        before, now = number < times, number == times
        xy, hidden, far = (
            torch.where(before[..., None] if back.ndim == 4 else before, back, forth)
            for back, forth in zip(backwards, forwards, strict=True)
        )
        xy = torch.where(now[..., None], queries[:, :, None, 1:].to(xy), xy)
        return PointEstimate(xy, hidden.masked_fill(now, -NO_DOUBT), far.masked_fill(now, -NO_DOUBT))

    def predict(
        self, network: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]
    ) -> list[TapNextPredictions]:
        """Predict by the tokens after each block, positions in pixels of `video`."""
        model, size = cast(TapNext, network), (video.shape[2], video.shape[3])
        layers = model.predict_layers(*_resize_inputs(model, video, queries))
        return [replace(one, xy=scale_xy(one.image_xy, model.config.image_size, size)) for one in layers]

    def final(self, predictions: Sequence[TapNextPredictions]) -> PointEstimate:
        last = predictions[-1]
        return PointEstimate(last.xy, -last.visible_logits, _far_logit(last))

    def footage_loss(
        self, network: nn.Module, predictions: Sequence[TapNextPredictions], targets: FootageTargets
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Average the losses of all layers over what counts, in pixels of the network's `image_size`."""
        side, image_size = (targets.size, targets.size), cast(TapNext, network).config.image_size
        known = make_targets(targets.queries, targets.warped_xy, targets.occluded, side, image_size)
        visible = known.visible.float()
        weighted = replace(
            known, located=known.located * targets.mask, known=known.known * targets.mask * (1 + self.rebalance * visible)
        )
        return add_terms(tracking_losses(predictions, weighted))

    def track(
        self, network: nn.Module, video: Float[Tensor, "1 t h w 3"], queries: Float[Tensor, "1 n 3"]
    ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        """Compute positions and the probability of being visible, forwards alone: scores count from the query on."""
        model, size = cast(TapNext, network), (video.shape[2], video.shape[3])
        device = next(model.parameters()).device
        made = model(*_resize_inputs(model, video.to(device), queries.to(device)))
        return scale_xy(made.image_xy[0], model.config.image_size, size), made.visible_logits[0].sigmoid()

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        return decay_groups(network)

    def save(self, network: nn.Module, file: Path) -> None:
        weights.save(cast(TapNext, network), file)

    def load(self, name_or_path: str | Path, device: torch.device | None) -> TapNextTracker:
        return tracker.load(name_or_path, device)


def _resize_inputs(
    model: TapNext, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]
) -> tuple[Float[Tensor, "b t h2 w2 3"], Float[Tensor, "b n 3"]]:
    source, target = (video.shape[2], video.shape[3]), model.config.video_size
    images = resize_frames(video.flatten(0, 1).permute(0, 3, 1, 2), target, antialias=True)
    frames = images.permute(0, 2, 3, 1).unflatten(0, (video.shape[0], video.shape[1]))
    return frames, torch.cat([queries[..., :1], scale_xy(queries[..., 1:], source, target)], -1)


def _read(one: TapNextPredictions, model: TapNext, size: tuple[int, int]) -> PointEstimate:
    return PointEstimate(scale_xy(one.image_xy, model.config.image_size, size), -one.visible_logits, _far_logit(one))


def _far_logit(one: TapNextPredictions) -> Float[Tensor, "b q t"]:
    """The logit of being farther than the certainty's 8 pixels of the network's `image_size` from where it is said to be."""
    return -one.certainty.clamp(1e-6, 1 - 1e-6).logit()
