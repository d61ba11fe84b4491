"""Settings of Odin. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

from tapetum.core.errors import BadInput
from tapetum.core.fields import check_fields

Source = Literal["features", "projections", "pixels", "grid", "segments", "given"]
"""Where masks come from; see `tapetum.systems.odin.sources`."""


@dataclass(frozen=True, kw_only=True)
class OdinConfig:
    """Settings of Odin (arXiv 2203.08777, section 3). Where the paper could not be read, the choice is ours."""

    pyramid_width: int = 256
    """Channels of the feature pyramid, of whose finest level masks are made and held; 0: no pyramid, the coarsest map."""
    finest_stride: int = 1
    """Pixels to a cell of the pyramid's finest level, at least: finer maps of the encoder are left out of it."""
    hidden_width: int = 4096
    """Width inside of projector and predictor."""
    projection_width: int = 256
    """Width of the vectors that are compared."""

    form: Literal["b", "s"] = "b"
    """b, as BYOL: a predictor, and targets from an average of the network; s, as SimCLR: neither."""
    temperature: float = 0.1
    """Of the loss."""
    local_negatives: bool = True
    """Other masks of the same image count as negatives."""
    sampled: int = 0
    """Masks drawn for each view, with replacement, of those that it shows; 0: all that it shows, each once."""

    source: Source = "features"
    """Where masks come from."""
    clusters: int = 16
    """Masks of an image, or rows and columns together of a grid: 16 is 4 by 4."""
    metric: Literal["cosine", "l2"] = "cosine"
    """Of k-means."""
    iterations: int = 10
    """Rounds of k-means."""
    seeds: Literal["random", "spread"] = "random"
    """Where the centres of k-means begin: at random vectors, or at ones far from each other (k-means++)."""
    place_weight: float = 0.0
    """How much the position counts in k-means beside the features or pixels; 1 gives it a variance as large as theirs."""
    segment_scale: float = 1000.0
    """Of Felzenszwalb's segments: scale and smallest size in pixels of an image of 224; larger means fewer."""

    target_decay: float = 0.996
    """Share of the target network that a step keeps; it rises to 1 by a cosine."""
    discovery: Literal["average", "copies", "fixed"] = "average"
    """How the network that finds masks follows: an average, copies from time to time, or never (the control of T3)."""
    discovery_decay: float = 0.999
    """Share of that network that a step keeps, if it is an average."""
    discovery_every: int = 1000
    """Steps from copy to copy, if it is copied."""
    cache_masks: bool = False
    """Masks are of whole images, each computed once per copy of the discovery network and used until the next copy, instead of
    of the spanning views and anew in every step. Wants discovery copies or fixed, or a source without a network."""

    def __post_init__(self) -> None:
        counts = "clusters", "hidden_width", "projection_width", "iterations", "discovery_every", "finest_stride"
        bounds = dict.fromkeys(counts, "[1, inf)") | dict.fromkeys(("pyramid_width", "sampled", "place_weight"), "[0, inf)")
        check_fields(self, temperature="(0, inf)", **bounds)
        if self.cache_masks and (self.source == "given" or (self.clusters_features and self.discovery == "average")):
            raise BadInput(
                f"masks of source {self.source} cannot be cached with discovery {self.discovery}: give discovery copies or "
                "fixed, with which they stay the same for many steps; given masks need no cache"
            )
        if self.source == "grid" and round(self.clusters**0.5) ** 2 != self.clusters:
            raise BadInput(f"a grid cannot have {self.clusters} cells; give a square number, such as 16")

    @property
    def clusters_features(self) -> bool:
        """Check whether masks are k-means of what the discovery network computes."""
        return self.source in ("features", "projections")
