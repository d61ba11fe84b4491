"""Image features by name: of a network, or colours and positions."""

from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput


def image_features_of(model: str, short_side: int | None = None, stride: int | None = None, device: str = "auto") -> Any:
    """Build the function of an image's features: colours, rgb or xy, or an encoder or Odin network by name, file or run.

    Raises BadInput for weights of another kind.
    """
    from tapetum.systems.odin.objects import PLAIN, network_map

    if model in PLAIN:
        return PLAIN[model]
    from tapetum.encoders import Encoder
    from tapetum.hub.loading import find_loader, load
    from tapetum.systems.odin.model import Odin
    from tapetum.systems.odin.weights import ODIN_FILE
    from tapetum.train.process_group import pick_device

    own = Path(model) / ODIN_FILE
    reference = own if own.is_file() else model
    find_loader(reference, trackers=False)
    loaded = load(reference)
    if not isinstance(loaded, Encoder | Odin):
        raise BadInput(f"{model} is no encoder of images; give one by name or file, or {', '.join(PLAIN)}")
    return network_map(loaded.to(pick_device(device)), short_side, stride)
