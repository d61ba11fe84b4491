"""Published weights to this machine, as a file of ours."""

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
