"""Files of paligemma-photo: a safetensors file whose header says the config as JSON under the key "paligemma-photo".

The classifier is not in the file; it comes from its own package, by its name in the config.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.core.fields import LARGEST_SIZE, check_sizes
from tapetum.core.files import whole_file
from tapetum.core.reading import no_pipe, parse_json
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.factory import load as load_encoder
from tapetum.hub.loading import header_of
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
    """Load the classifier that a config names, frozen. Raises BadInput where its package is not installed."""
    encoder = load_encoder(name, device)
    if not isinstance(encoder, EfficientNetLite):
        raise BadInput(f"{name} is a {type(encoder).__name__}; paligemma-photo reads an efficientnet-lite")
    classifier_of(encoder)
    return encoder.eval().requires_grad_(False)


def load(
    name_or_path: str | os.PathLike[str], device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> PhotoPaliGemma:
    """Load a file that `save` wrote, by its name or path, with its classifier, in evaluation mode.

    Raises BadInput where the file is none, or damaged, or the classifier is not on this machine.
    """
    path, place = resolve(name_or_path)[0], find_device(device)
    header = header_of(path)
    try:
        stored = parse_json(header[HEADER])
        check_sizes(stored, f" in the config of {path}", LARGEST_SIZE)
        config = from_json(stored)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} cannot be read as a paligemma-photo ({str(error)[:100]}); save the model again") from error
    encoder = load_classifier(config.encoder, place)
    if encoder.width != config.encoder_width:
        raise BadInput(f"{config.encoder} has {encoder.width} channels and {path} was trained on {config.encoder_width}")
    model = PhotoPaliGemma(config)
    fill(model, path)
    model = model.to(place, dtype or torch.float32)
    model.encoder = encoder
    return speed_up(model).eval()


def fill(model: PhotoPaliGemma, path: Path) -> None:
    """Fill a model with the weights of a file. Raises BadInput where they are not of this model."""
    try:
        state = load_file(no_pipe(path))
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{path} cannot be read as weights ({str(error)[:100]}); give those of a run") from error
    own = model.state_dict()
    if set(own) != set(state) or any(own[name].shape != tensor.shape for name, tensor in state.items()):
        raise BadInput(f"{path} has other tensors than the config says; give the weights of a paligemma-photo of this size")
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})


def save(
    model: PhotoPaliGemma, path: str | os.PathLike[str], dtype: torch.dtype | None = None, tokenizer: str | None = None
) -> None:
    """Write weights (rounded to `dtype`, if that is given) and config, without the classifier.

    Raises BadInput if it cannot be written; then there is no file.
    """
    own = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items() if not name.startswith(_ENCODER)}
    tensors = {name: (tensor.to(dtype) if dtype else tensor).contiguous() for name, tensor in own.items()}
    also = {} if tokenizer is None else {TOKENIZER: tokenizer}
    with whole_file(Path(path)) as temporary:
        save_file(tensors, temporary, {HEADER: json.dumps(as_json(model.config)), **also})
