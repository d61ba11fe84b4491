"""Fetch published weights to this machine, as one of our files or as their original folder."""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write
from tapetum.core.reading import sha256_of
from tapetum.hub import registry
from tapetum.hub.download import Progress, check_address, discard, download
from tapetum.hub.loading import named
from tapetum.hub.repositories import RECORD_FILE, files_to_fetch, is_folder

_TIMEOUT = 20.0
"""Seconds in which the hub must answer."""


def fetch(name: str, progress: Progress = lambda done, size: None, note: Callable[[str], None] = lambda line: None) -> Path:
    """Fetch the weights of a published name, or of OWNER/NAME, as one of our files or a folder, and return its path.

    Weights in this package, or in an installed one, are there already. Raises BadInput for an unknown name, for a package
    that is not installed, and as `download` and the converter of the weights do.
    """
    entry = registry.find(name)
    if entry.repository is not None:
        return fetch_folder(entry, progress, note=note)
    if entry.url is None:
        path = registry.location(entry)
        if not path.is_file():
            raise BadInput(registry.missing(entry))
        return path
    target = registry.converted(entry)
    if not target.exists():
        source = registry.location(entry)
        note(f"{entry.name}: {entry.url}, licence {entry.licence}")
        download(entry.url, source, sha256=entry.sha256, progress=progress, most=2 * entry.size if entry.size else 1 << 41)
        if entry.converter is None:
            return source
        try:
            named(entry.converter)(source, target, entry.architecture)
        except BadInput:
            discard(source)
            raise
    return registry.resolve(name)[0]


def hub() -> str:
    """Find the address of Hugging Face, or of its replacement."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def fetch_folder(
    entry: registry.Weights, progress: Progress = lambda done, size: None, note: Callable[[str], None] = lambda line: None
) -> Path:
    """Fetch the files of a repository by huggingface_hub into a folder, which gets its name once all are there.

    An interrupted call resumes. `note` receives size, licence, revision and gate before the download starts; these and the
    SHA-256 of each file are stored beside the files (`RECORD_FILE`).

    Raises BadInput: the repository does not exist or is closed to this account, lacks config or safetensors, cannot be reached,
    or a file is not what the hub announced.
    """
    from huggingface_hub.utils import WeakFileLock

    target = registry.location(entry)
    if is_folder(target):
        return target
    about = _request(entry, partial(_describe, entry))
    repository = str(about.id or entry.repository)  # its new name, where it has moved
    names = set(files_to_fetch([file.rfilename for file in about.siblings or []], entry.files, repository))
    files = [file for file in about.siblings or [] if file.rfilename in names]
    total = sum(file.size or 0 for file in files)
    licence = _licence(about) or entry.licence
    gate = f"; gated: {entry.gate or 'ask for access on its page'}" if about.gated else ""
    note(f"{repository}, revision {str(about.sha)[:12]}: {total / 1e6:,.0f} MB, licence {licence}{gate}")
    progress(0, total)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(target.with_name(f"{target.name}.lock")):  # of two processes the second finds what the first brought
            if not is_folder(target):
                part, done, sums = target.with_name(f"{target.name}.part"), 0, {}
                for file in files:
                    received = _reporting(lambda have, before=done: progress(before + have, total))
                    sums[file.rfilename] = _request(entry, partial(_fetch_file, repository, about.sha, file, part, received))
                    done += file.size or 0
                shutil.rmtree(part / ".cache", ignore_errors=True)  # huggingface_hub's own records
                kept = {"repository": repository, "revision": about.sha, "licence": licence, "files": sums}
                (part / RECORD_FILE).write_bytes((json.dumps(kept, indent=1) + "\n").encode())
                part.rename(target)
                progress(total, total)
    except OSError as error:
        raise cannot_write(target, error) from error
    return target


def _describe(entry: registry.Weights) -> Any:
    from huggingface_hub import HfApi

    check_address(hub())
    api = HfApi(endpoint=hub())
    return api.model_info(str(entry.repository), revision=entry.revision, files_metadata=True, timeout=_TIMEOUT)


def _fetch_file(repository: str, revision: str, file: Any, part: Path, received: type) -> dict[str, Any]:
    """Fetch a file of a repository into `part`; returns its SHA-256 and size."""
    from huggingface_hub import hf_hub_download

    hf_hub_download(
        repository,
        file.rfilename,
        revision=revision,
        local_dir=part,
        endpoint=hub(),
        etag_timeout=_TIMEOUT,
        tqdm_class=received,
    )
    path = part / file.rfilename
    size, sha256 = path.stat().st_size, sha256_of(path)
    if file.size not in (None, size) or (file.lfs and file.lfs.sha256 != sha256):
        path.unlink()
        raise BadInput(f"{file.rfilename} has {size} bytes, and {file.size} were announced; fetch it again")
    return {"sha256": sha256, "size": size}


def _reporting(progress: Callable[[int], None]) -> type:
    """A progress bar of huggingface_hub that draws nothing, and passes on the bytes of a file."""
    from huggingface_hub.utils import tqdm

    class Reporting(tqdm):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **{**kwargs, "disable": True})
            self.have = int(kwargs.get("initial") or 0)

        def update(self, n: float | None = 1) -> None:
            self.have += int(n or 0)
            progress(self.have)

    return Reporting


def _request(entry: registry.Weights, ask: Callable[[], Any]) -> Any:
    """Call huggingface_hub, and raise BadInput in place of its errors."""
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

    repository, place = entry.repository, registry.location(entry)
    try:
        return ask()
    except (GatedRepoError, RepositoryNotFoundError) as error:  # who is not logged in is told that there is no such thing
        page = f"https://huggingface.co/{repository}"
        advice = entry.gate or f"check the name, or ask for access at {page}, then: hf auth login"
        raise BadInput(f"{repository} is not open to this account{'' if entry.gate else ', or not there'}; {advice}") from error
    except RevisionNotFoundError as error:
        raise BadInput(
            f"{repository} has no revision {entry.revision!r}; give a branch, a tag or a hash that it has"
        ) from error
    except OfflineModeIsEnabled as error:
        raise BadInput(
            f"{repository} cannot be had, for HF_HUB_OFFLINE is set; unset it, or put its files into {place}"
        ) from error
    except BadInput:
        raise
    except Exception as error:  # of whatever library that speaks HTTP for huggingface_hub in its version
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise BadInput(f"{repository} cannot be had ({reason}); what has come is kept, run again to go on") from error


def _licence(about: Any) -> str | None:
    """Read the licence stated in a repository's card or tags."""
    card = getattr(about.card_data, "license", None) if about.card_data else None
    tags = [tag.partition(":")[2] for tag in about.tags or [] if str(tag).startswith("license:")]
    named = getattr(about.card_data, "license_name", None) if about.card_data else None
    return str(named or card or (tags[0] if tags else "")) or None
