"""Files of paligemma-photo: a safetensors file whose header has the config as JSON under the key "paligemma-photo".

The classifier is not in the file; it is loaded from its own package, by its name in the config.
"""

import json
import os
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.factory import load as load_encoder
from tapetum.hub.headed import check_fit, load_headed, read_headed
from tapetum.hub.registry import resolve
from tapetum.layers.cpu import speed_up
from tapetum.systems.paligemma.photo.config import as_json, from_json
from tapetum.systems.paligemma.photo.model import PhotoPaliGemma, classifier_of

HEADER = "paligemma-photo"
"""Entry in the header of a file."""
TOKENIZER = "tokenizer"
"""Entry in it that says which tokenizer the weights belong to (`Tokens.identity`)."""
_ENCODER = "encoder."


def load_classifier(name: str, device: torch.device | str | None = None) -> EfficientNetLite:
    """Load the classifier that a config names, frozen. Raises BadInput if its package is not installed."""
    encoder = load_encoder(name, device)
    if not isinstance(encoder, EfficientNetLite):
        raise BadInput(f"{name} is a {type(encoder).__name__}; paligemma-photo reads an efficientnet-lite")
    classifier_of(encoder)
    return encoder.eval().requires_grad_(False)


def load(
    name_or_path: str | os.PathLike[str], device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> PhotoPaliGemma:
    """Load a file written by `save`, by name or path, with its classifier, in evaluation mode.

    Raises BadInput if the file is invalid or damaged, or the classifier is not on this machine.
    """
    path, place = resolve(name_or_path)[0], find_device(device)
    model = load_headed(path, HEADER, "paligemma-photo", lambda about: partial(PhotoPaliGemma, from_json(about)))
    assert isinstance(model, PhotoPaliGemma)
    config = model.config
    encoder = load_classifier(config.encoder, place)
    if encoder.width != config.encoder_width:
        raise BadInput(f"{config.encoder} has {encoder.width} channels and {path} was trained on {config.encoder_width}")
    model = model.to(place, dtype or torch.float32)
    model.encoder = encoder
    return speed_up(model).eval()


def fill(model: PhotoPaliGemma, path: Path) -> None:
    """Fill a model with the weights of a file. Raises BadInput if they are not of this model."""
    tensors = read_headed(path, HEADER, "paligemma-photo")[1]
    check_fit(model.state_dict(), tensors, path)
    model.load_state_dict(tensors)


def save(
    model: PhotoPaliGemma, path: str | os.PathLike[str], dtype: torch.dtype | None = None, tokenizer: str | None = None
) -> None:
    """Write weights (rounded to `dtype`, if that is given) and config, without the classifier.

    Raises BadInput if it cannot be written; then no file is left.
    """
    own = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items() if not name.startswith(_ENCODER)}
    tensors = {name: (tensor.to(dtype) if dtype else tensor).contiguous() for name, tensor in own.items()}
    also = {} if tokenizer is None else {TOKENIZER: tokenizer}
    with whole_file(Path(path)) as temporary:
        save_file(tensors, temporary, {HEADER: json.dumps(as_json(model.config)), **also})
