"""`tapetum.app.make.weights`: lists, fetches and converts weights."""

import dataclasses
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.commands import Group
from tapetum.app.make.suggest import suggest
from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput
from tapetum.hub import registry
from tapetum.hub.repositories import is_folder


class _Listed(Result):
    """A result whose text is a line for each field."""

    def as_text(self) -> str:
        fields = {key: " ".join(value) if isinstance(value, tuple) else value for key, value in self.as_json().items()}
        return "\n".join(f"{key:20} {value}" for key, value in fields.items() if value is not None)


@dataclass(frozen=True, kw_only=True)
class KnownWeights(_Listed):
    """Weights known by name, and where they lie on this machine."""

    weights: registry.Weights
    path: Path
    """Where they are, or belong."""
    here: bool

    def as_json(self) -> dict[str, Any]:
        known = dataclasses.asdict(self.weights)
        fields = {key: value for key, value in known.items() if key not in ("file", "loader", "converter")}
        if "track" in self.weights.verbs:
            from tapetum.systems.tap.config import ARCHITECTURES

            config = ARCHITECTURES.get(self.weights.architecture)
            names = ("causal", "pyramid_level", "extra_convs", "softmax_temperature") if config else ()
            fields |= {name: getattr(config, name) for name in names}
        return {**fields, "path": str(self.path), "here": self.here}


@dataclass(frozen=True)
class WeightsShowOptions:
    """Show where weights come from, and where they lie."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """Name of the weights."""


@verb(WeightsShowOptions)
def show(options: WeightsShowOptions, listener: Listener) -> KnownWeights:
    """Look up weights by name. Raises BadInput with the nearest known name.

    >>> show("tapri")
    Traceback (most recent call last):
    tapetum.core.errors.BadInput: there are no weights named 'tapri'; did you mean tapir?
    """
    return _entry(registry.find(options.name))


@dataclass(frozen=True)
class WeightsFetchOptions:
    """Fetch weights by name; an interrupted fetch goes on where it stopped.

    They are kept in the assets of the Hugging Face cache (or in $TAPETUM_WEIGHTS) as safetensors, with their SHA-256, which is
    checked whenever they are used.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME")]
    """Name of the weights."""


@dataclass(frozen=True, kw_only=True)
class Fetched(_Listed):
    """Weights that are on this machine now."""

    name: str
    path: Path
    """The file, which `tapetum.load` finds by the name."""


@verb(WeightsFetchOptions, counts="bytes")
def fetch(options: WeightsFetchOptions, listener: Listener) -> Fetched:
    """Fetch weights by name unless they are on this machine; an interrupted fetch resumes where it stopped.

    Progress is in bytes. Raises BadInput for an unknown name, and for a file that differs from the published one.
    """
    from tapetum.hub.fetch import fetch

    return Fetched(name=options.name, path=fetch(options.name, listener.counting("fetching"), listener.note))


@dataclass(frozen=True)
class WeightsConvertOptions:
    """Convert a checkpoint of a tracker (.pt, or .npy or .npz of JAX), an encoder of another library, or a PaliGemma."""

    source: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="FILE")]
    """Published checkpoint of a tracker, .pt, .ckpt, .npy or .npz; or an encoder of another library: a folder with config.json,
    a state dict (own.pth), or timm:NAME=FILE where the file does not say what it is."""
    _: KW_ONLY
    out: Annotated[File | None, tyro.conf.arg(metavar="FILE.safetensors")] = None
    """Where to write what was converted; by default beside the file. For huggingface a folder."""
    to: Literal["huggingface"] | None = None
    """Write a PaliGemma for transformers, with its processor and tokenizer."""
    causal: bool | None = None
    """Whether the network in the file is causal; by default its name decides."""
    softmax_temperature: Annotated[float | None, tyro.conf.arg(metavar="T")] = None
    """Temperature of stage 1 of the network in the file; by default 20."""


@dataclass(frozen=True, kw_only=True)
class WeightsConverted(_Listed):
    """A published checkpoint as a file of ours."""

    source: Path
    path: Path
    python: str | None = None
    """What loads it in the other library, where it was written for one."""

    def as_json(self) -> dict[str, Any]:
        return {"source": str(self.source), "path": str(self.path), **({"python": self.python} if self.python else {})}


@verb(WeightsConvertOptions)
def convert(options: WeightsConvertOptions, listener: Listener) -> WeightsConverted:
    """Convert a checkpoint of a tracker (.pt, or .npy of JAX) or of another library's encoder to our format; or, with `to`, a
    PaliGemma for transformers.

    Raises BadInput if it is not such a checkpoint, or cannot be read.
    """
    if options.to is not None:
        return _for_transformers(options)
    from tapetum.hub.loading import find_loader

    source, loader = Path(options.source), find_loader(options.source)
    if loader.startswith("tapetum.encoders."):
        return _encoder(options)
    target = Path(options.out or source.with_suffix(".safetensors"))
    if loader.startswith("tapetum.systems.tapnext."):
        from tapetum.systems.tapnext.weights import convert

        _refuse_settings_of_trackers(options, "and TAPNext has neither")
        convert(source, target)
    else:
        from tapetum.systems.tap.weights import convert

        convert(source, target, causal=options.causal, softmax_temperature=options.softmax_temperature)
    return WeightsConverted(source=source, path=target)


def _encoder(options: WeightsConvertOptions) -> WeightsConverted:
    """Convert another library's encoder to our format."""
    from tapetum.core.files import same_place
    from tapetum.encoders import load, save

    _refuse_settings_of_trackers(options, "and this is an encoder")
    encoder = load(options.source)
    source = Path(options.source)
    if not source.exists():  # PREFIX:NAME, PREFIX:NAME=FILE or a name
        source = Path(str(source).rpartition("=")[2])
    own = source.stem if source.is_file() else source.name.rpartition(":")[2]
    target = Path(options.out or source.with_name(f"{own}.safetensors"))
    if same_place(target, source):
        raise BadInput(f"{source} would be overwritten by what is made of it: give --out another name")
    if target.suffix != ".safetensors":
        raise BadInput(f"{target} must be named .safetensors: that is what is written")
    save(encoder, target)
    return WeightsConverted(source=source, path=target)


def _refuse_settings_of_trackers(options: WeightsConvertOptions, but: str) -> None:
    if options.causal is not None or options.softmax_temperature is not None:
        raise BadInput(f"--causal and --softmax-temperature are of trackers, {but}; leave them out")


def _for_transformers(options: WeightsConvertOptions) -> WeightsConverted:
    """Convert a PaliGemma for transformers."""
    from tapetum.hub.loading import header_of
    from tapetum.systems.paligemma import weights as paligemma
    from tapetum.systems.paligemma.tokens import Tokens

    _refuse_settings_of_trackers(options, "and --to is for a PaliGemma")
    source = Path(options.source)
    own = source / "model.safetensors" if source.is_dir() else source
    if not own.is_file() or "paligemma" not in header_of(own):
        raise BadInput(f"{source} holds no PaliGemma, which --to writes; give the file or the folder of one")
    target = Path(options.out or source.with_name(f"{source.stem}-huggingface"))
    python = paligemma.write_for_transformers(paligemma.load(own), Tokens.beside(own), target)
    return WeightsConverted(source=source, path=target, python=python)


def _entry(weights: registry.Weights) -> KnownWeights:
    places = registry.converted(weights), registry.location(weights)
    path = next((p for p in places if p.is_file() or is_folder(p)), None)
    return KnownWeights(weights=weights, path=path or registry.converted(weights), here=path is not None)


@dataclass(frozen=True)
class WeightsListOptions:
    """List the weights known by name, and say which are on this machine."""


@dataclass(frozen=True)
class ListedWeights(Result):
    """All weights known by name."""

    entries: list[KnownWeights]

    def as_json(self) -> dict[str, Any]:
        return {"weights": [entry.as_json() for entry in self.entries]}

    def as_text(self) -> str:
        groups: dict[str, list[list[str]]] = {purpose: [] for purpose in _PURPOSES}
        for each in self.entries:
            weights, place = each.weights, "here" if each.here else "away"
            purpose = next((purpose for purpose, verbs in _PURPOSES.items() if verbs <= {*weights.verbs}), "")
            columns = [weights.name, place, weights.size_text, weights.licence, weights.score or "", weights.summary]
            groups[purpose or [*_PURPOSES][-1]].append(columns)
        lines = []
        for purpose, rows in groups.items():
            widths = [max((len(row[k]) for row in rows), default=0) for k in range(5)]
            lines += ["", purpose] if rows else []
            lines += ["  " + "  ".join([*map(str.ljust, row, widths), row[5]]) for row in rows]
        return "\n".join(
            [*lines[1:], "", "away: tapetum weights fetch NAME; any other repository: tapetum weights fetch OWNER/NAME"]
        )


_PURPOSES = {
    "track points through video: track": {"track"},
    "find and name images by words: index, search, classify --labels": {"index", "classify"},
    "name images by the classes of ImageNet: classify": {"classify"},
    "features of images: embed, probe, adapt, pretrain --encoder": {"probe"},
    "answer questions about images: ask, caption, detect, segment": {"ask"},
    "masks of words: segment": {"segment"},
    "answer questions about video: answer": {"answer"},
    "features of images, sounds and video: embed": {"embed"},
}
"""What weights are for, and the verbs by which that is known; the first that fits is taken."""


@verb(WeightsListOptions)
def known(options: WeightsListOptions, listener: Listener) -> ListedWeights:
    """List all weights known by name.

    >>> import tapetum
    >>> [each.weights.name for each in tapetum.app.make.weights.known().entries if each.weights.bundled][0]
    'tapir-nano'
    """
    return ListedWeights([_entry(weights) for weights in registry.known().values()])


@dataclass(frozen=True)
class WeightsCheckOptions:
    """Check weights that were fetched: the SHA-256 of each file, and that they load."""

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|OWNER/NAME")]
    """Name of the weights."""


@dataclass(frozen=True, kw_only=True)
class WeightsChecked(Result):
    """What was checked."""

    name: str
    path: Path
    revision: str | None
    files: int
    """Files that have the SHA-256 of when they were fetched; 0 for those that were put there by hand."""
    kind: str
    parameters: int

    def as_text(self) -> str:
        sums = f"{self.files} files are as they were fetched" if self.files else "no sums are known, for nothing was fetched"
        return f"{self.path}: {sums}\n{self.kind}, {self.parameters / 1e6:,.1f} M parameters"


@verb(WeightsCheckOptions)
def check(options: WeightsCheckOptions, listener: Listener) -> WeightsChecked:
    """Check the files of fetched weights, and load them.

    Raises BadInput if they are not on this machine, a file has changed, or they do not load.
    """
    from tapetum.hub.loading import load
    from tapetum.hub.repositories import check_files, read_record

    path, _ = registry.resolve(options.name)
    files = check_files(path) if path.is_dir() else 0
    network = load(options.name)
    parameters = getattr(getattr(network, "model", network), "parameters", lambda: ())()
    return WeightsChecked(
        name=options.name,
        path=path,
        revision=read_record(path).get("revision"),
        files=files,
        kind=type(network).__name__,
        parameters=sum(each.numel() for each in parameters),
    )


COMMANDS = Group(
    """List the weights known by name, say which suit a task, show where one comes from, fetch or check one, or convert a file.

    Fetched weights are kept in the assets of the Hugging Face cache (or in $TAPETUM_WEIGHTS) as safetensors, with their
    SHA-256, which is checked whenever they are used. An interrupted fetch goes on where it stopped.
    """,
    {"list": known, "suggest": suggest, "show": show, "fetch": fetch, "check": check, "convert": convert},
)
