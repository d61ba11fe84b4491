"""Settings of probes and of fine-tuning. Imports no torch.

Every checkpoint gets the same sweep: the same settings are tried, the best on a held-out part of the training data is selected,
and only that one is scored on the test part. The number of settings tried is part of the result.
"""

from dataclasses import dataclass
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields


@dataclass(frozen=True, kw_only=True)
class NeighboursConfig:
    """k nearest neighbours, as in DINO (arXiv 2104.14294, appendix F)."""

    neighbours: int = 20
    """Features that vote."""
    temperature: float | None = 0.07
    """A vote weighs exp(cosine / temperature); None: all weigh the same."""

    def __post_init__(self) -> None:
        check_fields(self, neighbours="[1, inf)", temperature="(0, inf)")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """A classifier on features that stay as they are."""

    optimizer: Literal["lbfgs", "sgd"] = "lbfgs"
    """lbfgs: logistic regression to its minimum (linear probe alone); sgd: epochs over the features, any head."""
    decays: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
    """lbfgs: strengths of half the squared norm of the weights beside the mean cross entropy; all are tried."""
    learning_rates: tuple[float, ...] = (0.01, 0.1, 1.0)
    """sgd: learning rates; all are tried."""
    epochs: int = 30
    """sgd: how often each feature is seen."""
    batch_size: int = 256
    """sgd: features of a step."""
    standardise: bool = True
    """Bring each channel to mean 0 and deviation 1 over what is learned from."""
    validation_share: float = 0.1
    """Share of what is learned from on which the best setting is found."""
    seed: int = 0
    """Of the split, the order and first weights."""

    def __post_init__(self) -> None:
        bounds = {"epochs": "[1, inf)", "batch_size": "[1, inf)", "validation_share": "(0, 1)"}
        check_fields(self, decays="[0, inf)", learning_rates="[0, inf)", **bounds)
        if not self.tried:
            raise BadInput(f"a probe by {self.optimizer} has no settings to try; give one or more")

    @property
    def tried(self) -> tuple[float, ...]:
        """The settings to try."""
        return self.decays if self.optimizer == "lbfgs" else self.learning_rates


@dataclass(frozen=True, kw_only=True)
class FineTuneConfig:
    """The whole network learns on."""

    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    """Learning rates; all are tried."""
    layer_decay: float = 0.75
    """Factor on the rate for each layer between a weight and the output (BEiT, arXiv 2106.08254)."""
    weight_decay: float = 0.05
    """AdamW's."""
    steps: int = 1000
    """Of each run."""
    batch_size: int = 32
    """Images of a step."""
    warmup: float = 0.1
    """Share of the steps over which the rate rises."""
    size: tuple[int, int] | None = None
    """Rows and columns of the images; None: as the encoder prepares them."""
    seed: int = 0
    """Of order, crops and heads."""

    def __post_init__(self) -> None:
        check_fields(self, learning_rates="(0, inf)", steps="[1, inf)", batch_size="[1, inf)", warmup="[0, 1)")
        if not self.learning_rates:
            raise BadInput("fine-tuning has no learning rate to try; give one or more")


@dataclass(frozen=True, kw_only=True)
class PropagationConfig:
    """How a first mask is carried through a video by features (DINO's script, after arXiv 2006.14613)."""

    short_side: int = 480
    """Pixels of the shorter side of the frames that the encoder sees."""
    context: int = 7
    """Frames before the present one that are looked back at, beside the first."""
    radius: int = 12
    """Cells that a thing may move, along rows and columns, from the frames that are looked back at."""
    neighbours: int = 5
    """Cells of the earlier frames that are most alike and say what a cell is."""
    temperature: float = 0.1
    """A cell counts exp(cosine / temperature)."""

    def __post_init__(self) -> None:
        counts = dict.fromkeys(("short_side", "neighbours"), "[1, inf)") | dict.fromkeys(("context", "radius"), "[0, inf)")
        check_fields(self, temperature="(0, inf)", **counts)
