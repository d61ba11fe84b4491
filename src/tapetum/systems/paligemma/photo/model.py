"""PaliGemma's decoder on a classifier's feature maps as image tokens, and its files.

    image 260x260 -> EfficientNet-Lite2 (frozen) -> map 9x9x1280 -> 3x3 regions and the whole, 10 vectors f of 1280 numbers
    p = softmax(W f + b), the classifier's probabilities;  evidence q = W' p, the rows of the classes that it sees
    token = projector [f / rms f ; q] + position    -> [tokens][BOS prefix newline][suffix]

The evidence is in the space of the classifier's rows. All 1,000 classes have a position there, so the decoder learns the names
of classes without photographs in training (`data.PhotoSamples.prototype`). The projector starts as the linear map from each row
to the embeddings of the words of its name (`align_projector`): a token is then a probability-weighted mean of names, and the
decoder has to learn which part of it a question asks about.

A file is of safetensors with the config as JSON in its header under the key "paligemma-photo". The classifier is not in the
file; it is loaded from its own package, by its name in the config.

Differs from PaliGemma (arXiv 2407.07726): the vision encoder is a frozen classifier, not part of the weights; ten tokens per
image; the projector also reads the classifier's output.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save_file
from torch import Tensor, nn

from tapetum.core.devices import find_device
from tapetum.core.errors import BadInput
from tapetum.core.files import whole_file
from tapetum.encoders.decoder import Decoder
from tapetum.encoders.efficientnet_lite import EfficientNetLite
from tapetum.encoders.factory import load as load_encoder
from tapetum.hub.headed import check_fit, load_headed, read_headed
from tapetum.hub.registry import resolve
from tapetum.layers.cpu import speed_up
from tapetum.systems.paligemma.model import PrefixLm
from tapetum.systems.paligemma.photo.config import PhotoConfig, from_json


class PhotoPaliGemma(PrefixLm):
    """PaliGemma's decoder on a classifier. Without `encoder` it reads only features, as in training."""

    config: PhotoConfig

    def __init__(self, config: PhotoConfig):
        super().__init__()
        self.config = config
        self.encoder: EfficientNetLite | None = None
        """The classifier, which is no part of the saved weights."""
        self.projector = nn.Linear(2 * config.encoder_width, config.language.width)
        self.positions = nn.Parameter(torch.randn(config.image_tokens, config.language.width) * 0.5)
        self.language = Decoder(config.language)
        nn.init.normal_(self.projector.weight, std=(2 * config.encoder_width) ** -0.5)
        nn.init.zeros_(self.projector.bias)

    def embed_images(self, pixels: Float[Tensor, "b i 3 h w"]) -> Float[Tensor, "b n d"]:
        """Compute the decoder's tokens of each example's images, in -1..1, one image after the other."""
        if pixels.ndim != 5 or pixels.shape[1] == 0 or pixels.shape[2] != 3:
            raise BadInput(f"pixels are {tuple(pixels.shape)}; give (batch, images, 3, rows, columns), at least one image each")
        if self.encoder is None:
            raise BadInput(f"this model has no encoder; put {self.config.encoder} there, or load it by its name")
        features = photo_features(self.encoder, pixels.flatten(0, 1), self.config.regions)
        return self.embed_features(features).unflatten(0, pixels.shape[:2]).flatten(1, 2)

    def embed_features(self, features: Float[Tensor, "b n f"]) -> Float[Tensor, "b n d"]:
        """Compute the decoder's tokens of the output of `photo_features`."""
        return self.projector(features.to(self.projector.weight.dtype)) + self.positions


@torch.no_grad()
def align_projector(model: PhotoPaliGemma, rows: Float[Tensor, "k c"], words: Sequence[Sequence[int]]) -> None:
    """Set the projector to the least-squares map from class rows to their words' embeddings; vectors have little weight.

    Args:
        model: the model with the projector and token embedding.
        rows: of the classifier, as `join_evidence` scales them.
        words: ids of the words of each class; later ones count less.
    """
    targets = []
    for ids in words:
        weights = 0.8 ** torch.arange(len(ids))
        targets.append((model.language.embed(torch.tensor(ids)[None])[0] * weights[:, None]).sum(0) / weights.norm())
    solved = torch.linalg.lstsq(rows.double(), torch.stack(targets).double(), driver="gelsd").solution  # (c, width)
    width = model.config.encoder_width
    model.projector.weight[:, :width] *= 0.3
    model.projector.weight[:, width:] = solved.T.float()


def photo_features(encoder: EfficientNetLite, pixels: Float[Tensor, "b 3 h w"], regions: int = 3) -> Float[Tensor, "b n f"]:
    """Compute the features of images in -1..1: of the whole image first, then of its regions row by row."""
    vectors = region_vectors(encoder, pixels, regions)
    weight, bias = classifier_of(encoder)
    return join_evidence(vectors, (vectors @ weight.T + bias).softmax(-1), weight)


@torch.no_grad()
def region_vectors(encoder: EfficientNetLite, pixels: Float[Tensor, "b 3 h w"], regions: int = 3) -> Float[Tensor, "b n c"]:
    """Average the encoder's last map over the whole image, and over each of its regions."""
    how = encoder.preprocessing
    mean, std = (torch.tensor(each, dtype=pixels.dtype, device=pixels.device)[:, None, None] for each in (how.mean, how.std))
    images = ((pixels + 1) * 127.5 - mean) / std
    cells = encoder.see(images.to(next(encoder.parameters()).dtype))[-1]
    parts = nn.functional.adaptive_avg_pool2d(cells, regions).flatten(2).mT
    return torch.cat((cells.mean((2, 3))[:, None], parts), 1)


def classifier_of(encoder: EfficientNetLite) -> tuple[Float[Tensor, "k c"], Float[Tensor, " k"]]:
    """Get weight and bias of the encoder's classifier. Raises BadInput if it has none."""
    if encoder.head is None:
        raise BadInput("this encoder has no classifier; load one of the published efficientnet-lite")
    return encoder.head.weight.detach(), encoder.head.bias.detach()


def join_evidence(
    vectors: Float[Tensor, "*s c"], probabilities: Float[Tensor, "*s k"], weight: Float[Tensor, "k c"]
) -> Float[Tensor, "*s f"]:
    """Concatenate vectors, scaled to a root mean square of 1, with the probability-weighted mean of the classifier's rows."""
    scaled = vectors / vectors.square().mean(-1, keepdim=True).sqrt().clamp_min(1e-6)
    return torch.cat((scaled, probabilities @ (weight / weight.std())), -1)


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
        save_file(tensors, temporary, {HEADER: json.dumps(asdict(model.config)), **also})
