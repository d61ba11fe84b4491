"""Fetch published weights to this machine, as one of our files or as their original folder."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tapetum.core.errors import BadInput
from tapetum.core.files import cannot_write, write_text
from tapetum.core.limits import USUAL, Limits
from tapetum.hub import registry
from tapetum.hub.connection import check_address, within
from tapetum.hub.download import Record, discard, download
from tapetum.hub.loading import named
from tapetum.hub.repositories import RECORD_FILE, files_to_fetch, is_folder

Progress = Callable[[int, int | None], None]


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
        limits = USUAL if entry.size is None else Limits(most=2 * entry.size)
        download(entry.url, source, sha256=entry.sha256, progress=progress, limits=limits)
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
    entry: registry.Weights,
    progress: Progress = lambda done, size: None,
    limits: Limits = USUAL,
    pause: float = 1.0,
    note: Callable[[str], None] = lambda line: None,
) -> Path:
    """Fetch the files of a repository into a folder, which gets its name once all are there.

    huggingface_hub lists them; they are downloaded like all files (`download`). `note` receives size, licence, revision
    and gate before the download starts; these and the SHA-256 of each file are stored beside the files (`RECORD_FILE`).

    Raises:
        BadInput: as `download`; the repository does not exist or is closed to this account, or lacks config or safetensors.
    """
    from huggingface_hub.utils import WeakFileLock

    target = registry.location(entry)
    if is_folder(target):
        return target
    about = _described(entry, limits, lambda: progress(0, None))
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
                part = target.with_name(f"{target.name}.part")
                sums = _fetch_files(
                    files, part, repository, about.sha, lambda have: progress(have, total), pause, limits, entry
                )
                kept = {"repository": repository, "revision": about.sha, "licence": licence, "files": sums}
                write_text(part / RECORD_FILE, json.dumps(kept, indent=1) + "\n")
                part.rename(target)
    except OSError as error:
        raise cannot_write(target, error) from error
    return target


def _fetch_files(
    files: Sequence[Any],
    part: Path,
    repository: str,
    revision: str,
    progress: Callable[[int], None],
    pause: float,
    limits: Limits,
    entry: registry.Weights,
) -> dict[str, dict[str, Any]]:
    """Fetch the files of a repository into `part`; returns SHA-256 and size of each."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    headers = {name: value for name, value in build_hf_headers().items() if name.lower() == "authorization"}
    sums: dict[str, dict[str, Any]] = {}
    done = 0
    for file in files:
        record = _fetch_file(
            hf_hub_url(repository, file.rfilename, revision=revision, endpoint=hub()),
            part / file.rfilename,
            sha256=file.lfs.sha256 if file.lfs else None,
            size=file.size,
            progress=lambda have, size, before=done: progress(before + have),
            pause=pause,
            limits=limits if file.size is None else replace(limits, most=file.size),
            headers=headers,
            closed=_closed(entry),
        )
        sums[file.rfilename] = {"sha256": record.sha256, "size": record.size}
        done += file.size or 0
    for file in files:
        for ending in (".json", ".lock"):  # the records of the downloads, which are no files of the repository
            (part / f"{file.rfilename}{ending}").unlink(missing_ok=True)
    return sums


def _licence(about: Any) -> str | None:
    """Read the licence stated in a repository's card or tags."""
    card = getattr(about.card_data, "license", None) if about.card_data else None
    tags = [tag.partition(":")[2] for tag in about.tags or [] if str(tag).startswith("license:")]
    named = getattr(about.card_data, "license_name", None) if about.card_data else None
    return str(named or card or (tags[0] if tags else "")) or None


def _closed(entry: registry.Weights) -> str:
    page = f"https://huggingface.co/{entry.repository}"
    advice = entry.gate or f"check the name, or ask for access at {page}, then: hf auth login"
    return f"{entry.repository} is not open to this account{'' if entry.gate else ', or not there'}; {advice}"


def _fetch_file(url: str, target: Path, closed: str, **how: Any) -> Record:
    """Fetch one of them; raises BadInput with the text `closed` if this account has no access."""
    try:
        return download(url, target, **how)
    except BadInput as error:
        if isinstance(error.__cause__, HTTPError) and error.__cause__.code in (401, 403):
            raise BadInput(closed) from error
        raise


def _described(entry: registry.Weights, limits: Limits, waiting: Callable[[], None]) -> Any:
    """List the files of a repository."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

    check_address(hub())
    api = HfApi(endpoint=hub())
    repository, revision = str(entry.repository), entry.revision

    def ask() -> Any:
        return api.model_info(repository, revision=revision, files_metadata=True, timeout=limits.answer)

    try:
        return within(limits.answer, ask, waiting)
    except (GatedRepoError, RepositoryNotFoundError) as error:  # who is not logged in is told that there is no such thing
        raise BadInput(_closed(entry)) from error
    except RevisionNotFoundError as error:
        raise BadInput(f"{repository} has no revision {revision!r}; give a branch, a tag or a hash that it has") from error
    except OfflineModeIsEnabled as error:
        raise BadInput(
            f"{repository} cannot be had, for HF_HUB_OFFLINE is set; unset it, or put its files into {registry.location(entry)}"
        ) from error
    except TimeoutError as error:
        raise BadInput(f"{hub()} cannot be reached (no answer in {limits.answer:g} seconds); try later") from error
    except Exception as error:  # of whatever library that speaks HTTP for huggingface_hub in its version
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise BadInput(f"{repository} cannot be had ({reason}); what has come is kept, run again to go on") from error
