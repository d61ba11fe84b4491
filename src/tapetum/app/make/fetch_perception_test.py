"""`tapetum.fetch_perception_test`: download of the public files of the Perception Test."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.systems.perception_test.public_files import LICENCE, SOURCE, Part, Public, Split, Task


@dataclass(frozen=True, kw_only=True)
class PerceptionTestFetchOptions:
    """Fetch annotations, videos, sound and features of the Perception Test; a fetch that was cut off goes on where it was."""

    out: Annotated[File, tyro.conf.arg(metavar="DIR")]
    """Folder for all of it; several splits and tasks may share one."""
    split: Split = "valid"
    """valid is what is scored locally; test has no answers; sample is a few videos of all tasks, 0.2 GB."""
    tasks: tuple[Task, ...] = ()
    """By default all. Questions, actions and sounds need the videos of the whole split, the others have fewer of their own."""
    parts: tuple[Part, ...] = ("annotations", "lists", "videos")
    """Which files; audios are recordings beside videos, features those of the published baselines of actions and sounds."""
    sizes: bool = False
    """Only say what would be fetched, and how large it is."""
    source: Annotated[str, tyro.conf.arg(metavar="URL")] = SOURCE
    """Where the folders zip_data and misc are; by default at the publisher's."""


@dataclass(frozen=True, kw_only=True)
class FetchedPerceptionTest(Result):
    """Files of the Perception Test, fetched or only looked for."""

    out: Path
    files: Sequence[Public]
    here: frozenset[str]
    """Names of files that were there before this call."""
    fetched: bool
    """False where sizes were asked for alone."""

    @property
    def to_come(self) -> int:
        """Count the bytes of files that were not yet downloaded."""
        return sum(file.stated or 0 for file in self.files if file.name not in self.here)

    def as_json(self) -> dict[str, Any]:
        rows = [{"name": f.name, "part": f.part, "bytes": f.stated, "was_here": f.name in self.here} for f in self.files]
        return {"out": str(self.out), "fetched": self.fetched, "bytes": self.to_come, "files": rows, "licence": LICENCE}

    def as_text(self) -> str:
        width = max(len(file.name) for file in self.files)
        came = "fetched" if self.fetched else "to fetch"
        rows = [f"{f.name:{width}}  {amount(f.stated):>12}  {'here' if f.name in self.here else came}" for f in self.files]
        return "\n".join([*rows, f"{amount(self.to_come)} {came}; {self.out}"])


@verb(PerceptionTestFetchOptions, counts="bytes")
def fetch_perception_test(options: PerceptionTestFetchOptions, listener: Listener) -> FetchedPerceptionTest:
    """Download public files of the Perception Test into a folder; the next call resumes a stopped download.

    Raises BadInput if nothing of that kind is published, the disk is too small, the server cannot be reached, or a download is
    damaged or malicious. Files received so far are kept.
    """
    from tapetum.hub.download import check_address
    from tapetum.systems.perception_test.fetching import check_disk_space, fetch, is_here
    from tapetum.systems.perception_test.public_files import choose

    check_address(options.source)
    out = Path(options.out)
    chosen = choose(options.split, options.tasks, options.parts)
    here = frozenset(file.name for file in chosen if is_here(file, out))
    result = FetchedPerceptionTest(out=out, files=chosen, here=here, fetched=not options.sizes)
    if options.sizes:
        return result
    if missing := [file for file in chosen if file.name not in here]:
        sizes = ", ".join(f"{file.name} {amount(file.stated)}" for file in missing)
        listener.note(f"to fetch into {out}: {sizes}; {amount(result.to_come)} in all; {LICENCE}")
    check_disk_space(missing, out)
    for file in chosen:
        fetch(file, out, options.source, listener.progress)
    return result


def amount(size: int | None) -> str:
    """Format a number of bytes.

    >>> amount(70_200_000_000), amount(613_000), amount(None)
    ('70.2 GB', '0.6 MB', 'size unknown')
    """
    if size is None:
        return "size unknown"
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.1f} MB" if size >= 10**5 else f"{size / 1e3:.1f} kB"
