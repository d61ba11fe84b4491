"""Published weights to this machine, as a file of ours or as the folder that they are."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tapetum.errors import BadInput
from tapetum.hub import registry
from tapetum.hub.download import download
from tapetum.hub.loading import named


def fetch(name: str, progress: Callable[[int, int | None], None] = lambda done, size: None) -> Path:
    """Bring the weights of a known name to this machine as a file of ours, and return it.

    What comes with this package, or in an installed one, is there already. Raises BadInput for an unknown name, for a package
    that is not installed, and as `download` and the converter of the weights do.
    """
    entry = registry.find(name)
    if entry.repository is not None:
        return _folder(entry, progress)
    if entry.url is None:
        path = registry.location(entry)
        if not path.is_file():
            raise BadInput(registry.missing(entry))
        return path
    target = registry.converted(entry)
    if not target.exists():
        source = registry.location(entry)
        download(entry.url, source, sha256=entry.sha256, progress=progress)
        if entry.converter is None:
            return source
        named(entry.converter)(source, target, entry.architecture)
    return registry.resolve(name)[0]


_WANTED = (".json", ".safetensors", "tokenizer.model")


def _folder(entry: registry.Weights, progress: Callable[[int, int | None], None]) -> Path:
    """Bring the files of a repository into a folder, which has its name once all are there."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    target = registry.location(entry)
    if (target / registry.FOLDER_FILE).is_file():
        return target
    part = target.with_name(f"{target.name}.part")
    repository = str(entry.repository)
    try:
        files = HfApi().model_info(repository, files_metadata=True).siblings or []
        files = [file for file in files if file.rfilename.endswith(_WANTED) and "/" not in file.rfilename]
        total, done = sum(file.size or 0 for file in files), 0
        progress(0, total)
        for file in files:
            hf_hub_download(repository, file.rfilename, local_dir=part)
            done += file.size or 0
            progress(done, total)
    except (GatedRepoError, RepositoryNotFoundError) as error:  # who is not logged in is told that there is no such thing
        raise BadInput(f"{repository} is not open to this account; {entry.gate}") from error
    except (HfHubHTTPError, OSError) as error:
        raise BadInput(
            f"{repository} cannot be had ({str(error).splitlines()[0][:120]}); what has come is kept, run again to go on"
        ) from error
    shutil.rmtree(part / ".cache", ignore_errors=True)
    part.rename(target)
    return target
