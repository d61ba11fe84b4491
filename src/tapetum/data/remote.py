"""Files at addresses as those of a data set: what is asked for is read, by way of `tapetum.core.remote_cache`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tapetum.core.addresses import RemoteFile
from tapetum.core.remote_cache import RemoteCache
from tapetum.data.files import StoredFile


@dataclass(frozen=True)
class RemoteFiles:
    """Files at addresses, read when they are asked for."""

    files: Sequence[RemoteFile]
    cache: RemoteCache

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, k: int, /) -> StoredFile:
        """Raises Unreachable."""
        return StoredFile(self.files[k].address, self.cache.read_whole(self.files[k]))

    def read_ahead(self, numbers: Iterable[int]) -> None:
        """Begin to read some files in the background."""
        self.cache.read_ahead_whole(self.files[k] for k in numbers)
