"""Networks of others as encoders: any module from images to vectors; any model of timm, and some of transformers, by name.

    wrap(module, size)      a module of your own in Python; the class of one is taken as it is: my_net.py:MyNet
    timm:NAME               what no table of ours has: timm's features, pooled vector and preprocessing, without its classifier
    folder of transformers  whose model_type is one of `config.OF_TRANSFORMERS`, likewise

What such a module returns says what it is: (n, d) are vectors, (n, t, d) tokens, (n, d, h, w) a map. Of tokens the last fill
the largest grid in the shape of the image, and those before it are class token and registers.
"""

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tapetum.core.errors import BadInput, MissingExtra
from tapetum.encoders.config import OF_TRANSFORMERS, Architecture, EncoderConfig, LibraryNetConfig, Preprocessing
from tapetum.encoders.features import Encoder, Features
from tapetum.encoders.tables.rows import NameRow, same

_NAME = re.compile(r"[a-z][a-z0-9_]*(\.\w+)?")
_PREFIX_TOKENS = 9
"""Tokens before the grid, fewer than these."""


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
        self.width, self.map_channels = int(features.pooled.shape[1]), (int(features.maps[0].shape[1]),)
        self.strides = (max(1, round(rows / features.grid[0])),)
        if config.classes:
            self.head = nn.Linear(self.width, config.classes)

    def forward(self, images: Tensor) -> Features:
        """Encode prepared images."""
        return _features(*self.outputs(self.checked(images)), images)

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor | None, int | None]:
        """Compute tokens or maps, the pooled vector, and how many tokens are before the grid; None if not known."""
        return self.network(images), None, None


def wrap(network: nn.Module, size: tuple[int, int] = (224, 224), preprocessing: Preprocessing | None = None) -> Encoder:
    """Make an encoder of a module with forward(images (n, 3, h, w)) -> (n, d), (n, t, d) or (n, d, h, w).

    Args:
        network: with parameters.
        size: rows and columns that images are prepared to; they are normalised by the mean and deviation of ImageNet.
        preprocessing: all of it, instead.
    """
    return WrappedEncoder(network, EncoderConfig(), preprocessing or Preprocessing(size=size)).eval()


def _features(out: Any, pooled: Tensor | None, prefix: int | None, images: Tensor) -> Features:
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
        grid = _grid(int(tokens.shape[1]), prefix, int(images.shape[2]), int(images.shape[3]))
    cells = tokens[:, tokens.shape[1] - math.prod(grid) :]
    maps = cells.mT.reshape(len(out), -1, *grid)
    return Features(tokens=tokens, grid=grid, pooled=tokens.mean(1) if pooled is None else pooled, maps=(maps,))


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
        network = (_of_timm if config.library == "timm" else _of_transformers)(config)
        super().__init__(network, config, preprocessing)

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor | None, int | None]:
        """Compute the library's features and its pooled vector, that before the classifier."""
        network: Any = self.network
        if self.config.library == "transformers":
            out = network(images)
            return out.last_hidden_state, out.pooler_output.flatten(1), None
        if not hasattr(network, "forward_head"):
            return network(images), None, None
        out = network.forward_features(images)
        pooled = network.forward_head(out)
        if not isinstance(out, Tensor) or out.ndim not in (3, 4):  # several scales, or a vector
            return pooled, pooled, None
        if out.ndim == 4 and out.shape[1] != network.num_features == out.shape[3]:
            out = out.movedim(3, 1)
        return out, pooled, getattr(network, "num_prefix_tokens", None)


def _of_timm(config: LibraryNetConfig) -> nn.Module:
    sizes = {} if config.image_size is None else {"img_size": config.image_size}
    try:
        return _timm().create_model(_checked(config.model), pretrained=False, num_classes=0, **sizes)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:100]
        raise BadInput(f"timm cannot build {config.model} ({reason}); give another size, or another model") from error


def _of_transformers(config: LibraryNetConfig) -> nn.Module:
    library = _transformers()
    if config.model not in OF_TRANSFORMERS:
        raise BadInput(f"a network of transformers is {config.model[:60]!r}; it is one of {', '.join(OF_TRANSFORMERS)}")
    settings = _settings_of(config.model, dict(config.settings))  # those of a file may be any
    try:
        return library.AutoModel.from_config(library.AutoConfig.for_model(config.model, **settings))
    except Exception as error:  # its configs check themselves, by classes of errors of their own
        reason = " ".join(str(error).split())[:100]
        raise BadInput(f"the config of a {config.model} is not one of transformers ({reason}); get it again") from error


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise MissingExtra("timm", "encoders", "a network of timm that tapetum has no table for") from None
    return timm


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingExtra("transformers", "depth", "a network of transformers that tapetum has no table for") from None
    return transformers


def _checked(name: str) -> str:
    """A name of timm's. Raises BadInput for another: names may also be addresses and folders, which are not read."""
    library, stem = _timm(), name.partition(".")[0]
    if _NAME.fullmatch(name) and library.is_model(stem):
        known = [entry.partition(".")[2] for entry in library.list_pretrained(f"{stem}.*")]
        if stem == name or name.partition(".")[2] in known:
            return name
        raise BadInput(f"timm {library.__version__} has no weights {name!r}; those of {stem} are {', '.join(known) or 'none'}")
    near = difflib.get_close_matches(stem, library.list_models(), n=3)
    advice = f"did you mean {' or '.join(near)}?" if near else "timm.list_models() lists them"
    raise BadInput(f"timm {library.__version__} has no model {name[:80]!r}; {advice}")


def describe(architecture: Any, state: Mapping[str, Tensor]) -> tuple[Architecture, Mapping[str, Tensor]] | None:
    """Describe a model that a library computes itself, and its weights without a classifier; None for one it has not.

    Raises BadInput for a name that timm does not have, and MissingExtra if the library is not installed.
    """
    if isinstance(architecture, str):
        cfg = _timm().get_pretrained_cfg(_checked(architecture)) or _timm().models.PretrainedCfg()
        cfg = cfg.to_dict()
        classifier = cfg.get("classifier") or ()
        from tapetum.encoders.folders import of_timm  # which stands on `factory`, and it on this table

        preprocessing = of_timm(cfg, architecture)
        config = LibraryNetConfig(library="timm", model=architecture)
        if cfg.get("fixed_input_size"):
            config = replace(config, image_size=preprocessing.size)
        return _described(config, preprocessing, state, [classifier] if isinstance(classifier, str) else classifier, "")
    kind = architecture.get("model_type")
    if kind not in OF_TRANSFORMERS:
        return None
    settings = _settings_of(kind, architecture)
    config = LibraryNetConfig(library="transformers", model=str(kind), settings=tuple(settings.items()))
    size = Preprocessing(size=(224, 224), crop_fraction=224 / 256, crop_offset="down")
    return _described(config, size, state, ["classifier"], f"{kind}.")


_NOT_OF_THE_NETWORK = "architectures", "dtype", "torch_dtype", "id2label", "label2id", "model_type", "transformers_version"


def _settings_of(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a config that describe the network, and are not the defaults of transformers."""
    usual = _transformers().AutoConfig.for_model(kind).to_dict()
    own = (name for name in usual if not name.startswith("_") and name not in _NOT_OF_THE_NETWORK)
    return {name: given[name] for name in own if given.get(name, usual[name]) != usual[name]}


def _described(
    config: LibraryNetConfig, preprocessing: Preprocessing, state: Mapping[str, Tensor], classifier: Iterable[str], prefix: str
) -> tuple[Architecture, Mapping[str, Tensor]]:
    dropped = tuple(f"{name}." for name in classifier)
    named = {name.removeprefix(prefix): each for name, each in state.items() if not (dropped and name.startswith(dropped))}
    return Architecture(family="library", config=config, preprocessing=preprocessing), named


def rows(encoder: Encoder, source: str) -> list[NameRow] | None:
    """List the library's names of the weights, which are ours after "network."; None for another network."""
    if not isinstance(encoder, LibraryNet) or encoder.head is not None:
        return None
    if encoder.config.library != {"huggingface": "transformers"}.get(source, source):
        return None
    return same({f"network.{name}": name for name in encoder.network.state_dict()})


def candidates(state: Mapping[str, Tensor]) -> Iterator[str]:
    """Name none: tensors do not say which of timm's thousand models they are of."""
    return iter(())
