"""Networks of others as encoders: any module from images to vectors; any model of timm, and some of transformers, by name.

    wrap(module, size)      a module of your own in Python; the class of one is taken as it is: my_net.py:MyNet
    timm:NAME               what no table of ours has: timm's features, pooled vector and preprocessing, without its classifier
    folder of transformers  whose model_type is one of `config.OF_TRANSFORMERS`, likewise

What such a module returns says what it is: (n, d) are vectors, (n, t, d) tokens, (n, d, h, w) a map. Of tokens the last fill
the largest grid in the shape of the image, and those before it are class token and registers. timm's pyramids, such as Swin's,
have a map a stage.

V-JEPA 2 (arXiv 2506.09985) encodes videos by `watch`; an image is a video of one frame. Its pooled vector is the mean of the
tokens, where the paper pools by attention, with a layer per task.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tapetum.core.errors import BadInput, MissingExtra, did_you_mean
from tapetum.encoders.config import (
    OF_TRANSFORMERS,
    Architecture,
    EncoderConfig,
    LibraryNetConfig,
    Preprocessing,
    imagenet,
    naflex,
)
from tapetum.encoders.features import Encoder, Features
from tapetum.encoders.tables.rows import NameRow, same
from tapetum.encoders.tables.timm import of_timm
from tapetum.encoders.vit_sizes import prepare_dinov3
from tapetum.layers.patches import to_patches

if TYPE_CHECKING:
    from tapetum.encoders.embed import EncoderEmbedder

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.\w+)?")
_FINEST_STRIDE = 4
"""Pixels to a cell of the finest map that is used, as of a ResNet."""
_PREFIX_TOKENS = 9
"""Tokens before the grid, fewer than these."""


class Output(NamedTuple):
    """What a module computes of images."""

    features: Any
    """Vectors, tokens or the last map."""
    pooled: Tensor | None = None
    """None: the mean of the tokens."""
    prefix: int | None = None
    """Tokens before the grid; None if not known."""
    finer: Sequence[Tensor] = ()


class WrappedEncoder(Encoder):
    """A module from images to vectors, tokens or a map, as an encoder."""

    def __init__(self, network: nn.Module, config: EncoderConfig, preprocessing: Preprocessing):
        """Raise BadInput if the module has no parameters, or computes something else of an image of zeros."""
        super().__init__(config, preprocessing)
        if (first := next(network.parameters(), None)) is None:
            raise BadInput(f"{type(network).__name__} has no parameters, so there is nothing to learn or load")
        self.network, self.head = network.eval(), None
        rows, columns = preprocessing.size
        with torch.no_grad():
            features = self(torch.zeros(1, 3, rows, columns, device=first.device, dtype=first.dtype))
        self.width = int(features.pooled.shape[1])
        self.map_channels = tuple(int(each.shape[1]) for each in features.maps)
        self.strides = tuple(max(1, round(rows / each.shape[2])) for each in features.maps)
        if config.classes:
            self.head = nn.Linear(self.width, config.classes)

    def forward(self, images: Tensor) -> Features:
        return _features(self.outputs(self.checked(images)), images)

    def outputs(self, images: Tensor) -> Output:
        """Compute what the module does of prepared images."""
        return Output(self.network(images))


def wrap(network: nn.Module, size: tuple[int, int] = (224, 224), preprocessing: Preprocessing | None = None) -> Encoder:
    """Make an encoder of a module with forward(images (n, 3, h, w)) -> (n, d), (n, t, d) or (n, d, h, w).

    Args:
        network: with parameters.
        size: rows and columns that images are prepared to; they are normalised by the mean and deviation of ImageNet.
        preprocessing: all of it, instead.
    """
    return WrappedEncoder(network, EncoderConfig(), preprocessing or Preprocessing(size=size)).eval()


def _features(output: Output, images: Tensor) -> Features:
    out = output.features
    if not isinstance(out, Tensor) or out.ndim not in (2, 3, 4) or len(out) != len(images):
        shape = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise BadInput(
            f"the network makes {shape} of images {tuple(images.shape)}; wanted vectors (n, d), tokens (n, t, d) or maps "
            "(n, d, h, w)"
        )
    if out.ndim == 4:
        tokens, grid = out.flatten(2).mT, (int(out.shape[2]), int(out.shape[3]))
    else:
        tokens = out if out.ndim == 3 else out[:, None]
        grid = _grid(int(tokens.shape[1]), output.prefix, int(images.shape[2]), int(images.shape[3]))
    cells = tokens[:, tokens.shape[1] - math.prod(grid) :]
    last = cells.mT.reshape(len(out), -1, *grid)
    pooled = tokens.mean(1) if output.pooled is None else output.pooled
    return Features(tokens=tokens, grid=grid, pooled=pooled, maps=(*output.finer, last))


def _grid(tokens: int, prefix: int | None, rows: int, columns: int) -> tuple[int, int]:
    """The largest grid in the shape of the image; a row where there is none."""
    for before in range(min(_PREFIX_TOKENS, tokens)) if prefix is None else (prefix,):
        high = round(math.sqrt((tokens - before) * rows / columns))
        if high and high * high * columns == (tokens - before) * rows:
            return high, (tokens - before) // high
    return 1, tokens - (prefix or 0)


class LibraryNet(WrappedEncoder):
    """A network of timm or transformers, computed by the library itself."""

    config: LibraryNetConfig

    def __init__(self, config: LibraryNetConfig, preprocessing: Preprocessing):
        make = _of_timm if config.library == "timm" else _of_transformers
        with torch.device("meta"):  # on which it costs nothing to find the shapes of the features
            network = make(config)
        super().__init__(network, config, preprocessing)
        self.network = make(config).eval()

    def outputs(self, images: Tensor) -> Output:
        """Compute the library's features and its pooled vector, that before the classifier."""
        network: Any = self.network
        if self.config.library == "transformers":
            return self._of_transformers(images)
        if not hasattr(network, "forward_head"):
            return Output(network(images))
        stages = getattr(network, "feature_info", ())
        finer: list[Tensor] = []
        if isinstance(stages, list) and len({stage["reduction"] for stage in stages}) > 1:
            out, maps = network.forward_intermediates(images)
            finer = [each for stage, each in zip(stages[:-1], maps, strict=False) if stage["reduction"] >= _FINEST_STRIDE]
        else:
            out = network.forward_features(images)
        pooled = network.forward_head(out)
        if not isinstance(out, Tensor) or out.ndim not in (3, 4):  # several scales, or a vector
            return Output(pooled, pooled)
        if out.ndim == 4 and out.shape[1] != network.num_features == out.shape[3]:
            out = out.movedim(3, 1)
        return Output(out, pooled, getattr(network, "num_prefix_tokens", None), finer)

    def _of_transformers(self, images: Tensor) -> Output:
        network: Any = self.network
        if self.config.model == "vjepa2":
            return Output(self.watch(images[:, None]), prefix=0)
        if self.config.model != "siglip2_vision_model":
            out = network(images)
            return Output(out.last_hidden_state, out.pooler_output.flatten(1))
        patches = to_patches(images, network.config.patch_size)  # all images of a batch have one grid
        grid = [int(side) // network.config.patch_size for side in images.shape[2:]]
        out = network(patches, None, torch.tensor([grid] * len(images), device="cpu"))
        return Output(out.last_hidden_state, out.pooler_output, prefix=0)

    def watch(self, videos: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b n d"]:
        """Compute the tokens of videos of prepared frames by V-JEPA 2, tubelet by tubelet, each row by row.

        Raises BadInput for another network, and for videos of another shape.
        """
        network: Any = self.network
        if self.config.model != "vjepa2":
            raise BadInput(f"{self.config.model} takes images, and no videos; load V-JEPA 2, such as vjepa2-large")
        if not isinstance(videos, Tensor) or videos.ndim != 5:
            shown = tuple(videos.shape) if isinstance(videos, Tensor) else type(videos).__name__
            raise BadInput(f"videos are {shown}; give floats (videos, frames, 3, rows, columns) of prepared frames")
        sides = network.config.tubelet_size, network.config.patch_size
        if (videos.shape[1] > 1 and videos.shape[1] % sides[0]) or any(side % sides[1] for side in videos.shape[3:]):
            raise BadInput(f"tubelets of {sides[0]} frames and {sides[1]} pixels do not divide videos {tuple(videos.shape)}")
        self.checked(videos.flatten(0, 1))
        return network(pixel_values_videos=videos).last_hidden_state

    def embedder(self) -> "EncoderEmbedder":
        """Make the embedder; that of V-JEPA 2 also takes pieces of videos."""
        from tapetum.encoders.embed import ClipEmbedder

        if self.config.model != "vjepa2":
            return super().embedder()
        settings: Any = self.network.config
        return ClipEmbedder(self, self.watch, settings.frames_per_clip, settings.tubelet_size)


_ANY_SIZE = ({"dynamic_img_size": True}, {"strict_img_size": False}, {})
"""Arguments by which timm's transformers, and its Swins, take images of other sizes."""


def _of_timm(config: LibraryNetConfig) -> nn.Module:
    name = _checked(config.model)
    sizes = [{"img_size": config.image_size, **more} for more in _ANY_SIZE] if config.image_size else [{}]
    for number, arguments in enumerate(sizes, 1):
        try:
            return _timm().create_model(name, pretrained=False, num_classes=0, **arguments)
        except (RuntimeError, AssertionError, TypeError, ValueError) as error:
            if isinstance(error, TypeError) and number < len(sizes):
                continue
            reason = " ".join(str(error).split())[:100]
            raise BadInput(f"timm cannot build {config.model} ({reason}); give another size, or another model") from error
    raise AssertionError


def _of_transformers(config: LibraryNetConfig) -> nn.Module:
    library = transformers()
    if config.model not in OF_TRANSFORMERS:
        raise BadInput(f"a network of transformers is {config.model[:60]!r}; it is one of {', '.join(OF_TRANSFORMERS)}")
    settings = of_transformers(config.model, dict(config.settings)).settings  # those of a file may be any
    try:
        model = library.AutoModel.from_config(library.AutoConfig.for_model(config.model, **dict(settings)))
    except Exception as error:  # its configs check themselves, by classes of errors of their own
        reason = " ".join(str(error).split())[:100]
        raise BadInput(f"the config of a {config.model} is not one of transformers ({reason}); get it again") from error
    return model.encoder if config.model == "vjepa2" else model  # without its predictor


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise MissingExtra("timm", "encoders", "a network of timm that tapetum has no table for") from None
    return timm


def transformers() -> Any:
    """Import the library. Raises MissingExtra if it is not installed."""
    try:
        import transformers as library
    except ImportError:
        raise MissingExtra("transformers", "depth", "a network of transformers that tapetum has no table for") from None
    return library


def _checked(name: str) -> str:
    """A name of timm's. Raises BadInput for another: names may also be addresses and folders, which are not read."""
    library, stem = _timm(), name.partition(".")[0]
    if _NAME.fullmatch(name) and library.is_model(stem):
        known = [entry.partition(".")[2] for entry in library.list_pretrained(f"{stem}.*")]
        if stem == name or name.partition(".")[2] in known:
            return name
        raise BadInput(f"timm {library.__version__} has no weights {name!r}; those of {stem} are {', '.join(known) or 'none'}")
    advice = did_you_mean(stem, library.list_models(), "timm.list_models() lists them", most=3)
    raise BadInput(f"timm {library.__version__} has no model {name[:80]!r}; {advice}")


def timm_preprocessing(name: str) -> Preprocessing | None:
    """Read how timm prepares images for a name, with its tag or timm's first; None where timm has no such name."""
    try:
        cfg = _timm().get_pretrained_cfg(name)
    except RuntimeError:  # it has the name, but not the tag
        cfg = _timm().get_pretrained_cfg(name.partition(".")[0])
    return None if cfg is None else of_timm(cfg.to_dict(), name)


def describe(architecture: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, Mapping[str, Tensor]] | None:
    """Describe a model that a library computes itself, and its weights without a classifier; None for one it has not.

    Raises BadInput for a name that timm does not have, and MissingExtra if the library is not installed.
    """
    if isinstance(architecture, str):
        cfg = _timm().get_pretrained_cfg(_checked(architecture)) or _timm().models.PretrainedCfg()
        cfg = cfg.to_dict()
        classifier = cfg.get("classifier") or ()
        preprocessing = of_timm(cfg, architecture)
        config = LibraryNetConfig(library="timm", model=architecture)
        if cfg.get("fixed_input_size"):
            config = replace(config, image_size=preprocessing.size)
        return _described(config, preprocessing, state, [classifier] if isinstance(classifier, str) else classifier, "")
    kind = str(architecture.get("model_type"))
    if kind not in OF_TRANSFORMERS:
        return None
    config, dropped, prefix = of_transformers(kind, architecture), ["classifier"], f"{kind}."
    usual = Preprocessing(size=(224, 224), crop_fraction=224 / 256, crop_offset="down")
    if kind == "vjepa2":
        if any(name.startswith(("vjepa2.", "pooler.", "classifier.")) for name in state):
            raise BadInput("these weights are of a classifier of videos, which tapetum has not; give those of VJEPA2Model")
        usual = replace(imagenet(architecture.get("crop_size", 256)), interpolation="bilinear", crop_offset="down")
        dropped, prefix = ["predictor"], "encoder."
    elif kind == "dinov3_vit":  # whose files have other names than the network in memory
        size = architecture.get("image_size", 224)
        usual = replace(prepare_dinov3(224), size=(size, size) if isinstance(size, int) else tuple(size))
        state = {re.sub(r"^layer\.", "model.layer.", name): each for name, each in state.items()}
    elif kind == "siglip2_vision_model":
        usual = naflex(architecture.get("num_patches", 256), architecture.get("patch_size", 16))
        prefix = "vision_model."
    return _described(config, usual, state, dropped, prefix)


_NOT_OF_THE_NETWORK = "architectures", "dtype", "torch_dtype", "id2label", "label2id", "model_type", "transformers_version"


def of_transformers(kind: str, given: Mapping[str, Any]) -> LibraryNetConfig:
    """Make the config of a network of transformers: the fields that describe it and are not the library's defaults."""
    library = transformers()
    try:
        usual = library.AutoConfig.for_model(kind).to_dict()
    except ValueError:
        raise BadInput(f"transformers {library.__version__} has no {kind}; bring it up to date") from None
    own = (name for name in usual if not name.startswith("_") and name not in _NOT_OF_THE_NETWORK)
    settings = tuple((name, given[name]) for name in own if given.get(name, usual[name]) != usual[name])
    return LibraryNetConfig(library="transformers", model=kind, settings=settings)


def _described(
    config: LibraryNetConfig, preprocessing: Preprocessing, state: Mapping[str, Tensor], classifier: Iterable[str], prefix: str
) -> tuple[Architecture, Mapping[str, Tensor]]:
    dropped = tuple(f"{name}." for name in classifier)
    named = {name.removeprefix(prefix): each for name, each in state.items() if not (dropped and name.startswith(dropped))}
    return Architecture(family="library", config=config, preprocessing=preprocessing), named


def rows(encoder: LibraryNet, ours: str = "", theirs: str = "") -> list[NameRow]:
    """List the library's names of the weights, which are ours after "network.", each after a prefix."""
    return same({f"{ours}network.{name}": f"{theirs}{name}" for name in encoder.network.state_dict()})


def candidates(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Name none: tensors do not say which of timm's thousand models they are of."""
    return iter(())
