"""Published weights to this machine, as a file of ours or as the folder that they are."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from tapetum.core.errors import BadInput
from tapetum.hub import registry
from tapetum.hub.connection import USUAL, Limits, check_address, within
from tapetum.hub.download import download
from tapetum.hub.loading import named

Progress = Callable[[int, int | None], None]


def fetch(name: str, progress: Progress = lambda done, size: None) -> Path:
    """Bring the weights of a known name to this machine as a file of ours, and return it.

    What comes with this package, or in an installed one, is there already. Raises BadInput for an unknown name, for a package
    that is not installed, and as `download` and the converter of the weights do.
    """
    entry = registry.find(name)
    if entry.repository is not None:
        return fetch_folder(entry, progress)
    if entry.url is None:
        path = registry.location(entry)
        if not path.is_file():
            raise BadInput(registry.missing(entry))
        return path
    target = registry.converted(entry)
    if not target.exists():
        source = registry.location(entry)
        limits = USUAL if entry.size is None else Limits(most=2 * entry.size)
        download(entry.url, source, sha256=entry.sha256, progress=progress, limits=limits)
        if entry.converter is None:
            return source
        named(entry.converter)(source, target, entry.architecture)
    return registry.resolve(name)[0]


def hub() -> str:
    """Find the address of Hugging Face, or of what stands in for it."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


_WANTED = (".json", ".safetensors", "tokenizer.model")


def fetch_folder(
    entry: registry.Weights, progress: Progress = lambda done, size: None, limits: Limits = USUAL, pause: float = 1.0
) -> Path:
    """Bring the files of a repository into a folder, which has its name once all are there.

    What they are is asked of huggingface_hub; they come as all files do (`download`). Raises BadInput as `download`, and where
    the repository is not open to this account.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    target = registry.location(entry)
    if (target / registry.FOLDER_FILE).is_file():
        return target
    part = target.with_name(f"{target.name}.part")
    repository = str(entry.repository)
    about = _described(repository, entry.gate, limits, lambda: progress(0, None))
    files = [file for file in about.siblings or [] if file.rfilename.endswith(_WANTED) and "/" not in file.rfilename]
    total, done = sum(file.size or 0 for file in files), 0
    progress(0, total)
    headers = {name: value for name, value in build_hf_headers().items() if name.lower() == "authorization"}
    for file in files:
        _fetch_file(
            hf_hub_url(repository, file.rfilename, revision=about.sha, endpoint=hub()),
            part / file.rfilename,
            sha256=file.lfs.sha256 if file.lfs else None,
            progress=lambda have, size, before=done: progress(before + have, total),
            pause=pause,
            limits=limits if file.size is None else replace(limits, most=file.size),
            headers=headers,
            closed=f"{repository} is not open to this account; {entry.gate}",
        )
        done += file.size or 0
    for file in files:
        for ending in (".json", ".lock"):  # the records of the downloads, which are no files of the repository
            (part / f"{file.rfilename}{ending}").unlink(missing_ok=True)
    part.rename(target)
    return target


def _fetch_file(url: str, target: Path, closed: str, **how: Any) -> None:
    """Fetch one of them; raises BadInput that says `closed` where it may be had by others alone."""
    try:
        download(url, target, **how)
    except BadInput as error:
        if isinstance(error.__cause__, HTTPError) and error.__cause__.code in (401, 403):
            raise BadInput(closed) from error
        raise


def _described(repository: str, gate: str | None, limits: Limits, waiting: Callable[[], None]) -> Any:
    """What files a repository has."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    check_address(hub())
    api = HfApi(endpoint=hub())
    try:
        return within(limits.answer, lambda: api.model_info(repository, files_metadata=True, timeout=limits.answer), waiting)
    except (GatedRepoError, RepositoryNotFoundError) as error:  # who is not logged in is told that there is no such thing
        raise BadInput(f"{repository} is not open to this account; {gate}") from error
    except TimeoutError as error:
        raise BadInput(f"{hub()} cannot be reached (no answer in {limits.answer:g} seconds); try later") from error
    except Exception as error:  # of whatever library that speaks HTTP for huggingface_hub in its version
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise BadInput(f"{repository} cannot be had ({reason}); what has come is kept, run again to go on") from error
