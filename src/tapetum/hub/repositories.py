"""Repositories of Hugging Face by OWNER/NAME: parsing references, choosing files to fetch, and recording what was fetched.

    OWNER/NAME, OWNER/NAME@REVISION, hf:OWNER/NAME      a repository, whose files `tapetum weights fetch` downloads

Imports no torch. Configs, tokenizers and safetensors are fetched, but no pickles and no code. If a repository has the same
weights in two layouts, open_clip's and timm's or transformers', open_clip's is chosen, because it has both towers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from tapetum.core.errors import BadInput
from tapetum.core.reading import read_json, sha256_of

FOLDER_FILE, OPEN_CLIP_FILE = "config.json", "open_clip_config.json"
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
RECORD_FILE = "tapetum.json"
"""What was fetched: repository, revision, licence, and SHA-256 and size of each file."""
_REFERENCE = re.compile(r"(hf:)?(?P<name>[\w.-]{1,96}/[\w.-]{1,96})(@(?P<revision>[\w./-]{1,100}))?", re.ASCII)
_ENDINGS = (".safetensors", ".pth", ".pt", ".npy", ".npz", ".json", ".pkl", ".bin", ".onnx", ".py")
_CONFIGS = "*.json", "tokenizer.model", "spiece.model", "sentencepiece.model", "merges.txt"


@dataclass(frozen=True)
class Repository:
    """A repository, and which version of it."""

    name: str
    """OWNER/NAME."""
    revision: str | None = None
    """A branch, a tag or the hash of a commit; None: what main is when it is fetched."""

    @property
    def folder(self) -> str:
        return self.name.replace("/", "--") + (f"@{self.revision.replace('/', '--')}" if self.revision else "")


def parse_repository(text: str) -> Repository | None:
    """Read OWNER/NAME[@REVISION]; None for a path: such a file or a folder OWNER exists, or it has a file's extension.

    >>> parse_repository("facebook/dinov2-small"), parse_repository("runs/encoder.safetensors"), parse_repository("../x")
    (Repository(name='facebook/dinov2-small', revision=None), None, None)
    """
    match = _REFERENCE.fullmatch(text)
    if match is None or any(part in (".", "..") or part.startswith("-") for part in match["name"].split("/")):
        return None
    if match[1] is None:
        owner = Path(match["name"].partition("/")[0])
        if Path(text).exists() or owner.exists() or text.lower().endswith(_ENDINGS):
            return None
    return Repository(match["name"], match["revision"])


def is_folder(path: Path) -> bool:
    """Check whether a folder has a model config, as repositories do."""
    return any((path / name).is_file() for name in (FOLDER_FILE, OPEN_CLIP_FILE))


def files_to_fetch(names: Sequence[str], patterns: Sequence[str] | None, repository: str) -> list[str]:
    """Choose which files of a repository to fetch.

    Args:
        names: of all its files; those in subfolders are skipped.
        patterns: of the files to fetch, if known; None: chosen by what exists.
        repository: its name, for messages.

    Raises:
        BadInput: it has no config or no safetensors, or one of the files has an invalid name.

    >>> files_to_fetch(["config.json", "model.safetensors", "pytorch_model.bin", "README.md"], None, "a/b")
    ['config.json', 'model.safetensors']
    """
    top = [name for name in names if "/" not in name and "\\" not in name and name != RECORD_FILE]
    weights = [name for name in top if name.endswith(".safetensors")]
    if patterns is None:
        both = OPEN_CLIP_WEIGHTS in weights and OPEN_CLIP_FILE in top
        chosen = {OPEN_CLIP_WEIGHTS} if both else {name for name in weights if name.startswith("model")} or set(weights)
        patterns = (*_CONFIGS, *sorted(chosen))
    matching = [name for name in top if any(fnmatchcase(name, pattern) for pattern in patterns)]
    if not any(name in (FOLDER_FILE, OPEN_CLIP_FILE) for name in matching):
        raise BadInput(f"{repository} has neither {FOLDER_FILE} nor {OPEN_CLIP_FILE}; give a repository with one")
    if not any(name.endswith(".safetensors") for name in matching):
        pickles = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
        content = f"only pickles ({pickles[0]})" if pickles else "no weights"
        raise BadInput(
            f"{repository} has {content}, and tapetum fetches safetensors; look for a mirror, as of timm, that has them"
        )
    if odd := [name for name in matching if not name.isprintable()]:
        raise BadInput(f"{repository} has a file {odd[0][:60]!r}, which is no name of a file; it is not fetched")
    return matching


def read_record(folder: Path) -> dict[str, str]:
    """Read repository, revision and licence of a fetched folder; empty for one that the user put there."""
    try:
        content = read_json(folder / RECORD_FILE)
    except (OSError, ValueError):
        return {}
    return {
        key: str(content[key]) for key in ("repository", "revision", "licence") if isinstance(content, dict) and key in content
    }


def check_files(folder: Path) -> int:
    """Check the files of a folder against their recorded sizes and SHA-256; returns how many there are.

    Raises BadInput if one is missing or has changed. A folder that the user put there has no record, and gives 0.
    """
    try:
        sums = read_json(folder / RECORD_FILE)["files"]
        expected = {str(name): (int(each["size"]), str(each["sha256"])) for name, each in sums.items()}
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(
            f"{folder / RECORD_FILE} cannot be read ({str(error)[:80]}); remove {folder} and fetch it again"
        ) from error
    for name, (size, sha256) in expected.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise BadInput(f"{path} is gone since it was fetched; remove {folder} and fetch it again")
        if path.stat().st_size != size or sha256_of(path) != sha256:
            raise BadInput(f"{path} has changed since it was fetched; remove {folder} and fetch it again")
    return len(expected)
