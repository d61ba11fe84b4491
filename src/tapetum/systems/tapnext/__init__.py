"""Track any point through frames as they come: TAPNext (arXiv 2504.05579) and TAPNext++ (2604.10582). Imports no torch itself.

network = tapetum.systems.tapnext.from_official(state_dict)
predictions = network(video, queries)                   a whole clip
state = network.start(queries, size)                    frames in any portions
state, predictions = network.step(state, frames)
"""

from typing import TYPE_CHECKING

from tapetum.core.lazy import lazy_attributes

if TYPE_CHECKING:
    from tapetum.systems.tapnext.config import TapNextConfig
    from tapetum.systems.tapnext.model import TapNext, TapNextPredictions, TapNextState
    from tapetum.systems.tapnext.weights import from_official

__all__ = ["TapNext", "TapNextConfig", "TapNextPredictions", "TapNextState", "from_official"]

__getattr__ = lazy_attributes(
    __name__,
    {"config": ("TapNextConfig",), "model": ("TapNext", "TapNextPredictions", "TapNextState"), "weights": ("from_official",)},
)
