"""Names of weights: what they are, where they come from, and where they are stored on this machine.

Each system owns its entries, in a module `published` (`PUBLISHED`), which is found by its dotted name and imported when a name
is requested; other packages register such a module as an entry point (`tapetum.core.plugins`). Nothing here imports torch.
"""

import os
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput, did_you_mean, install_line
from tapetum.core.files import named_path
from tapetum.core.plugins import installed, load_entry, missing_world
from tapetum.hub.download import check, check_sum
from tapetum.hub.repositories import FOLDER_FILE, OPEN_CLIP_FILE, is_folder, parse_repository

_LISTED = 8
"""Names that a message lists."""
TRACKER_FILE = "tracker.safetensors"
"""Name of the weights in a folder that stands for a tracker, such as `tapetum bootstrap` makes."""
ENCODER_FILE = "encoder.safetensors"
"""Name of the encoder in the folder of a run of `tapetum pretrain`."""
VIDEO_FILE = "longvideo.safetensors"
"""Name of the weights in the folder of a run of `tapetum train longvideo`."""
WEIGHTS_FILES = TRACKER_FILE, ENCODER_FILE, VIDEO_FILE
OWNERS = (
    "tapetum.systems.tap.published",
    "tapetum.systems.tapnext.published",
    "tapetum.systems.hip.published",
    "tapetum.encoders.published",
    "tapetum.systems.odin.published",
    "tapetum.systems.paligemma.published",
    "tapetum.systems.adapters.published",
    "tapetum.systems.longvideo.published",
    "tapetum.systems.perception_test.published",
    "tapetum.systems.image_text.published",
    "tapetum.systems.sam2.published",
)
"""Modules without torch, each with `PUBLISHED`, a tuple of `Weights`, and `HEADERS`: entry of a header to what loads a file;
and, if there are such, `FOLDERS`: model_type in the config.json of a folder to what loads it; `PREFIXES`: what stands before
the colon of a reference to what loads it; `FOREIGN`: what says whether tensors without a header are of this system by their
names, and what loads them. A loader is a "module:function" that takes reference, device and dtype."""
RETIRED = {
    "tapir-nano-synthetic": "tapir-nano",
    "paligemma-nano": "paligemma-nano-2 or efficientnet-lite2",
    "paligemma-photo": "efficientnet-lite2, by which ask answers about photographs",
    "mcvit-nano": "mcvit-films",
}
"""Weights that no longer ship, each with what took their place."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights known by name."""

    name: str
    """What the user types."""
    architecture: str
    """Name for `build` of its system, or `tapetum.systems.hip.config.variant`."""
    summary: str
    """One line for a table."""
    paper: str
    """Where it is published."""
    licence: str
    """SPDX name of the licence of the weights."""
    file: str
    """File name in a folder of weights; for bundled weights, the path inside this package, or an absolute one in another that
    registers them; for packaged ones, inside theirs;
    for those of a repository, the name of a folder."""
    loader: str
    """"module:function", which `tapetum.load` calls with name or path, device and dtype."""
    url: str | None = None
    """Where the file can be had; None for bundled and packaged weights."""
    repository: str | None = None
    """Repository on Hugging Face of which the configs, the tokenizer and the safetensors are wanted."""
    revision: str | None = None
    """Branch, tag or hash of a commit of the repository; None: main, whose hash is recorded."""
    files: tuple[str, ...] | None = None
    """Patterns of the files that are wanted of the repository; None: as `tapetum.hub.repositories.files_to_fetch` chooses."""
    gate: str | None = None
    """What a person has to do before the repository gives its files."""
    size: int | None = None
    """Bytes to be fetched, about, where that is much."""
    converter: str | None = None
    """"module:function", which makes a file of ours of what `url` gives: (source, target, architecture)."""
    package: str | None = None
    """Package on the package index that carries the file."""
    extra: str | None = None
    """Extra of tapetum that installs `package`, or what runs the model."""
    sha256: str | None = None
    """Checksum of the published file, where this project has seen it, as of all that come with a package; else what is fetched
    first is recorded and enforced."""
    verbs: tuple[str, ...] = ("track",)
    """Verbs of the command line that use it."""
    score: str | None = None
    """What its paper or its authors measured, with the name of the benchmark."""
    memory: float | None = None
    """GB that a run takes, about: measured here with weights of that size, or published."""

    @property
    def size_text(self) -> str:
        """Format the size of the download for display: "1.5 GB", "88 MB"; empty if unknown or small."""
        if not self.size:
            return ""
        return f"{self.size / 1e9:.1f} GB" if self.size >= 1e9 else f"{self.size / 1e6:.0f} MB"

    @property
    def fetch_text(self) -> str:
        """Write what is fetched, and by which command: "tapetum weights fetch NAME (1.5 GB, Apache-2.0)"."""
        return f"tapetum weights fetch {self.name} ({', '.join(filter(None, (self.size_text, self.licence)))})"

    @property
    def bundled(self) -> bool:
        """The file ships inside the package that has the entry."""
        return self.url is None and self.package is None and self.repository is None


def owners() -> list[Any]:
    """Import the modules of `OWNERS`, and those that installed packages register."""
    return [*map(import_module, OWNERS), *(load_entry("weights", name) for name in installed("weights"))]


@cache
def known() -> dict[str, Weights]:
    """Collect the weights of all systems, by name: bundled ones first, then packaged ones, then those to fetch."""
    entries = [weights for owner in owners() for weights in owner.PUBLISHED]
    entries.sort(key=lambda weights: (not weights.bundled, weights.package is None))
    by_name = {weights.name: weights for weights in entries}
    if len(by_name) < len(entries):
        raise ValueError(f"two of the weights {sorted(weights.name for weights in entries)} have one name")
    return by_name


def folder() -> Path:
    """Find where fetched weights are stored: $TAPETUM_WEIGHTS, else weights in `assets`."""
    own = os.environ.get("TAPETUM_WEIGHTS")
    return Path(own).expanduser() if own else assets() / "weights"


def assets() -> Path:
    """Find where fetched files are stored: tapetum among the assets of the Hugging Face cache.

    That is $HF_ASSETS_CACHE, else assets in $HF_HOME, else in huggingface in the user's cache folder.
    """
    if own := os.environ.get("HF_ASSETS_CACHE"):
        return Path(own).expanduser() / "tapetum"
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "assets" / "tapetum"


def location(weights: Weights) -> Path:
    """Find the path of the published file of `weights` on this machine, whether or not it exists.

    Packaged weights are looked up in their package, without running its code, and otherwise in the folder of weights.
    """
    if weights.bundled:
        return Path(__file__).parents[1] / weights.file
    if weights.package is not None:
        try:
            path = Path(str(metadata.distribution(weights.package).locate_file(weights.file)))
            if path.is_file():
                return path
        except metadata.PackageNotFoundError:
            pass
    return folder() / Path(weights.file).name


def converted(weights: Weights) -> Path:
    """Find the path of `weights` as one of our files on this machine, whether or not it exists.

    Bundled and packaged weights are used unchanged.
    """
    return location(weights) if weights.url is None else folder() / f"{weights.name}.safetensors"


def entry_of(text: str) -> Weights | None:
    """Look up weights by name or by OWNER/NAME of a repository; None for a path or an unknown name.

    A repository without a name has its own entry, whose loader is determined once its files are here.
    """
    for weights in import_module(OWNERS[0]).PUBLISHED:  # the bundled trackers, without the modules of all other systems
        if weights.bundled and weights.name == text:
            return weights
    if text in known():
        return known()[text]
    repository = parse_repository(text)
    if repository is None:
        return None
    for weights in known().values():
        if weights.repository == repository.name and repository.revision in (None, weights.revision):
            return weights
    return Weights(
        name=text,
        architecture="",
        summary=f"the repository {repository.name} of Hugging Face",
        paper="",
        licence="as its page says",
        file=repository.folder,
        loader="",
        repository=repository.name,
        revision=repository.revision,
        verbs=("embed", "index", "search", "classify", "ask"),
    )


def resolve(name_or_path: str | os.PathLike[str], verb: str | None = None) -> tuple[Path, Weights | None]:
    """Find the file for a published name (with its entry) or for a path (with None); a path may be a folder with one of the
    standard files, `TRACKER_FILE`, `ENCODER_FILE` and `VIDEO_FILE`.

    Args:
        verb: of the command line, which needs it; None accepts weights for any.

    Raises:
        BadInput: the name is unknown and not a file either, belongs to weights for another verb, its file is not on this
            machine, or differs from what was fetched.
    """
    weights = entry_of(os.fspath(name_or_path))
    if weights is not None and verb is not None and verb not in weights.verbs:
        raise BadInput(
            f"{weights.name} is for tapetum {' and '.join(weights.verbs)}, not for {verb}; see: tapetum weights list"
        )
    if weights is None:
        path = named_path(name_or_path)
        for file in (path, *(path / name for name in WEIGHTS_FILES)):
            if file.is_file():
                return file, None
        raise BadInput(_unknown(os.fspath(name_or_path), path, verb))
    for path in (converted(weights), location(weights)):
        if weights.repository is not None and is_folder(path):
            return path, weights
        if path.is_file():
            if weights.url is None:
                check_sum(path, weights.sha256)
            check(path)
            return path, weights
    raise BadInput(missing(weights))


def weights_fingerprint(name_or_path: str | os.PathLike[str]) -> str:
    """Compute a fingerprint of the bytes of a name, a file, a folder or a run (`tapetum.core.identity`).

    If there is no file on this machine, as for a rule without weights, the name is returned.

    >>> weights_fingerprint("static")
    'static'
    """
    from tapetum.core.identity import fingerprint

    try:
        return fingerprint(resolve(name_or_path)[0])
    except BadInput:
        path = Path(name_or_path)
        return fingerprint(path) if path.is_dir() else os.fspath(name_or_path)


def missing(weights: Weights) -> str:
    """Describe in one line how to get weights that are not on this machine."""
    path = location(weights)
    if weights.bundled:
        return f"the bundled weights {weights.name} are missing from {path}; install tapetum again"
    if weights.package is not None:
        return f"the weights {weights.name} come in the package {weights.package}, which is not installed: " + install_line(
            weights.extra or ""
        )
    if weights.repository is not None:
        much = f"{weights.size_text}, " if weights.size else ""
        first = f"{weights.gate}; then run" if weights.gate else "run"
        return (
            f"the weights {weights.name} are not on this machine; {first}: tapetum weights fetch {weights.name}"
            f" ({much}licence {weights.licence}; or put the repository's files into {path})"
        )
    return (
        f"the weights {weights.name} are not on this machine; run: tapetum weights fetch {weights.name}"
        f" (or download {weights.url} and put it at {path})"
    )


def names_of(verb: str | None) -> list[str]:
    return [name for name, weights in known().items() if verb is None or verb in weights.verbs]


def find(name: str) -> Weights:
    """Look up the entry of a name or OWNER/NAME; raises `BadInput` with the closest existing name."""
    if (weights := entry_of(name)) is None:
        raise BadInput(_unknown(name, None))
    return weights


def _unknown(name: str, path: Path | None, verb: str | None = None) -> str:
    if line := missing_world("weights", name):
        return line
    if name in RETIRED:
        return f"{name} no longer ships; use {RETIRED[name]}"
    names = names_of(verb)
    several = f"{', '.join(names[:_LISTED])} and {len(names) - _LISTED} more: tapetum weights list"
    advice = did_you_mean(name, names, f"known are {several if len(names) > _LISTED else ', '.join(names)}")
    if path is not None and path.is_dir():
        files = f"{', '.join(WEIGHTS_FILES)}, {FOLDER_FILE} or {OPEN_CLIP_FILE}"
        return f"{name} is a folder without {files}; give a file of weights or a name ({advice})"
    if path is not None and path.exists():
        return f"{name} is a pipe or a device, not a file of weights; give a file, or a name ({advice})"
    if path is not None and path.is_symlink():
        return f"{name} is a link that leads nowhere; give a file of weights, or a name ({advice})"
    return f"there are no weights named {name!r}{'' if path is None else ' and no such file'}; {advice}"
