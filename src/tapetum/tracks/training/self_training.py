"""What self-training on unlabelled footage (BootsTAP, arXiv 2402.00847) requires of a tracker family, TAPIR's or TAPNext's.

    clean clip      --teacher, `estimate`--> pseudo-labels
    student's view  --student, `predict`---> predictions --`footage_loss` against the labels-->
    synthetic clip  --student, `clip_loss` against exact tracks-->

The recipe (views, labels, masks, averages, scores) is the same for every family; networks and losses are family-specific.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tapetum.tracks.tracker import Tracker
from tapetum.tracks.training.data import TapSample


class PointEstimate(NamedTuple):
    """Tracks of a network, and its confidence in them."""

    tracks: Float[Tensor, "b n t 2"]
    """(x, y) in raster pixels of the video."""
    occlusion: Float[Tensor, "b n t"]
    """Logit of the point being hidden or out of the image."""
    expected_dist: Float[Tensor, "b n t"]
    """Logit of the position being wrong, by the pixels that the family's paper says."""


@dataclass(frozen=True)
class FootageTargets:
    """Pseudo-labels of a batch of square clips, as targets of a student."""

    size: int
    queries: Float[Tensor, "b n 3"]
    """Of the student: (t, x, y) in its frames."""
    xy: Float[Tensor, "b n t 2"]
    """Raster pixels of the clean clip."""
    warped_xy: Float[Tensor, "b n t 2"]
    """The same in raster pixels of the student's frames."""
    occluded: Bool[Tensor, "b n t"]
    mask: Float[Tensor, "b n t"]
    """Weight of every entry in all terms."""
    maps: Float[Tensor, "b t 3 3"]
    """From raster pixels of the clean clip to those of the student's frames."""


class TrackerFamily(Protocol):
    """Networks and losses of a family of trackers, with the settings of a run; holds no tensors."""

    causal: bool
    """The student predicts nothing before the frame of its query."""

    def start(self) -> nn.Module:
        """Load the network that a run starts from. Raises BadInput if that fails."""
        ...

    def learner(self) -> nn.Module:
        """Make the network to train, with the initial weights."""
        ...

    def clip_loss(self, network: nn.Module, batch: TapSample) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of clips with exact tracks, and numbers to log."""
        ...

    def estimate(self, network: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]) -> PointEstimate:
        """Track points as the teacher, in all frames."""
        ...

    def predict(self, network: nn.Module, video: Float[Tensor, "b t h w 3"], queries: Float[Tensor, "b n 3"]) -> Any:
        """Track points as the student: everything that its losses need."""
        ...

    def final(self, predictions: Any) -> PointEstimate:
        """Select the student's final prediction from the result of `predict`."""
        ...

    def footage_loss(
        self, network: nn.Module, predictions: Any, targets: FootageTargets
    ) -> tuple[Tensor, Mapping[str, float | Tensor]]:
        """Compute the loss of the result of `predict`, and numbers to log."""
        ...

    def track(
        self, network: nn.Module, video: Float[Tensor, "1 t h w 3"], queries: Float[Tensor, "1 n 3"]
    ) -> tuple[Float[Tensor, "n t 2"], Float[Tensor, "n t"]]:
        """Compute positions, and the confidence that a point is visible, for scoring."""
        ...

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Make the optimiser's groups."""
        ...

    def save(self, network: nn.Module, file: Path) -> None:
        """Write the student's weights to a file that `load` accepts, with the config of the initial network."""
        ...

    def load(self, name_or_path: str | Path, device: torch.device | None) -> Tracker:
        """Load a tracker by the name of published weights or from a file."""
        ...
