"""Point-tracking benchmarks that are published, by name: where each is published, and where it is on this machine.

Imports no torch.

TAP-Vid (arXiv 2211.03726) and RoboTAP (arXiv 2308.15975) are zip files of pickles in the store of google-deepmind/tapnet. Only
the pickles are kept, each with a record of its size and SHA-256 (`tapetum.hub.download`), which is checked before every use.
TAP-Vid-Kinetics is not included, since its videos are not published with it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tapetum.core.errors import BadInput, did_you_mean
from tapetum.core.files import cannot_write, whole_folder
from tapetum.core.reading import sha256_of
from tapetum.hub.download import Record, check, download, write_record
from tapetum.hub.registry import assets
from tapetum.hub.unzip import unpack

_OFFICIAL = "https://storage.googleapis.com/dm-tapnet/"


@dataclass(frozen=True, kw_only=True)
class PublishedBenchmark:
    name: str
    summary: str
    url: str
    licence: str
    """Of the annotations and the videos."""


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        PublishedBenchmark(
            name="davis",
            summary="TAP-Vid-DAVIS: 30 real videos, 650 tracks",
            url=_OFFICIAL + "tapvid_davis.zip",
            licence="annotations CC-BY-4.0; videos of DAVIS 2017 under Creative Commons licences of their makers",
        ),
        PublishedBenchmark(
            name="rgb-stacking",
            summary="TAP-Vid-RGB-Stacking: 50 synthetic videos of a robot, 250 frames each",
            url=_OFFICIAL + "tapvid_rgb_stacking.zip",
            licence="CC-BY-4.0",
        ),
        PublishedBenchmark(
            name="robotap",
            summary="RoboTAP: 265 real videos of robots",
            url=_OFFICIAL + "robotap/robotap.zip",
            licence="CC-BY-4.0",
        ),
    )
}


def folder() -> Path:
    """Find the folder of fetched benchmarks: $TAPETUM_BENCHMARKS, else beside the fetched weights."""
    own = os.environ.get("TAPETUM_BENCHMARKS")
    return Path(own).expanduser() if own else assets() / "benchmarks"


def fetch(name: str, progress: Callable[[str, int, int | None], None] = lambda task, done, total: None) -> Path:
    """Fetch a benchmark to this machine unless it is there; return the folder of its pickles.

    `progress` receives a description and bytes. Raises BadInput for an unknown name, for what `download` raises, a damaged
    file, and a folder that cannot be written.
    """
    benchmark = find(name)
    place = folder() / name
    if _checked_pickles(place):
        return place
    archive = folder() / f"{name}.zip"
    record = download(benchmark.url, archive, progress=lambda done, size: progress("fetching", done, size))
    try:
        with whole_folder(place) as temporary:
            _unpack(archive, temporary, record, lambda done, size: progress("unpacking", done, size))
    except OSError as error:
        raise cannot_write(place, error) from error
    for file in (archive, archive.with_name(archive.name + ".json")):
        file.unlink(missing_ok=True)
    return place


def located(data: str) -> Path | None:
    """Find the folder of a benchmark's pickles, or None if `data` is a path or a pattern, not a benchmark's name.

    Raises BadInput for a name whose files are missing or have changed, and for a word close to such a name.
    """
    if Path(data).exists():
        return None
    if data not in BENCHMARKS:
        if advice := did_you_mean(data, BENCHMARKS, ""):
            raise BadInput(f"there is no file and no benchmark {data!r}; {advice}")
        return None
    place = folder() / data
    if not _checked_pickles(place):
        raise BadInput(f"the benchmark {data} is not on this machine; run: tapetum data tapvid-{data}")
    return place


def _checked_pickles(place: Path) -> list[Path]:
    pickles = sorted(place.glob("*.pkl"))
    for pickle in pickles:
        check(pickle)
    return pickles


def find(name: str) -> PublishedBenchmark:
    """Look up the entry of `name`; raises BadInput that lists all names."""
    if name not in BENCHMARKS:
        raise BadInput(f"there is no benchmark {name!r}; known names are {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def _unpack(archive: Path, target: Path, record: Record, progress: Callable[[int, int | None], None]) -> None:
    """Extracts only the pickles of a zip file, each with its record, and no folders."""
    try:
        files = unpack(archive, target, lambda name: Path(name).name if name.endswith(".pkl") else None, progress=progress)
        if not files:
            raise BadInput("no pickle is in it [empty]")
    except BadInput as error:
        if str(error).endswith("]"):  # by which a bad archive is known, not a full disk
            for file in (archive, archive.with_name(archive.name + ".json")):
                file.unlink(missing_ok=True)
            what = f"what came from {record.source} is no zip file of pickles ({error})"
            raise BadInput(f"{what}; it is removed, fetch it again") from error
        raise
    for file in files:
        size, digest = file.stat().st_size, sha256_of(file)
        write_record(file, Record(source=record.source, size=size, sha256=digest, version=record.version))
