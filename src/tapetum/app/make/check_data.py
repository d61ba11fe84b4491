"""`tapetum data check`: which data of a published recipe a folder holds, and whether it can be read."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from tapetum.app.verb import File, Listener, Result, verb
from tapetum.core.errors import BadInput

if TYPE_CHECKING:
    from tapetum.bench.data_sets import DataSet
    from tapetum.bench.data_sets.check import PartReport


@dataclass(frozen=True)
class DataCheckOptions:
    """Check a folder of the data of a published recipe: what is there, what is missing, and whether it can be read.

    The official index files are read, their items are counted against the published counts, and some media files are opened.
    Nothing is downloaded. Exits with 0 where the data are complete, and with 2 where they are not.
    """

    name: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATASET|PRESET")]
    """A data set, such as vqav2, or a published preset, such as hip-imagenet: docs/systems/published-data.md lists them."""
    folder: Annotated[tyro.conf.Positional[File], tyro.conf.arg(metavar="FOLDER")]
    """Folder of the data set; of a preset with several, one that has a folder for each, by its name."""
    _: KW_ONLY
    splits: tuple[str, ...] = ()
    """Check these splits alone; by default all that were published."""
    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """Media files to open of each split: the first, the last, and some between."""

    def check(self) -> None:
        """Raise BadInput for a number of files below 1."""
        if self.samples < 1:
            raise BadInput(f"--samples is {self.samples}; give 1 or more")


@dataclass(frozen=True, kw_only=True)
class CheckedDataSet:
    """What was found of one data set."""

    data_set: "DataSet"
    folder: Path
    parts: tuple["PartReport", ...]
    """Of each split that was checked."""

    @property
    def complete(self) -> bool:
        """Whether everything is present and, as far as that can be checked, readable."""
        from tapetum.bench.data_sets.check import FINE

        return all(finding.kind in FINE for part in self.parts for finding in part.findings)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.data_set.name,
            "folder": str(self.folder),
            "address": self.data_set.address,
            "licence": self.data_set.licence,
            "complete": self.complete,
            "splits": [
                {
                    "name": report.part.name,
                    "of": report.part.of,
                    "published": report.part.items,
                    "items": report.items,
                    "missing": report.missing,
                    "opened": report.opened,
                    "findings": [{"kind": finding.kind, "text": finding.text} for finding in report.findings],
                }
                for report in self.parts
            ],
        }

    def as_text(self) -> str:
        findings = [finding for part in self.parts for finding in part.findings]
        split, kind = (max(map(len, names)) for names in zip(*((each.part, each.kind) for each in findings), strict=True))
        lines = [f"{self.data_set.title}: {self.data_set.address}; licence: {self.data_set.licence}"]
        return "\n".join([*lines, *(f"{each.part:{split}}  {each.kind:{kind}}  {each.text}" for each in findings)])


@dataclass(frozen=True, kw_only=True)
class CheckedData(Result):
    """What was found of the data sets of a recipe, or of one data set."""

    name: str
    data_sets: tuple[CheckedDataSet, ...]

    def as_json(self) -> dict[str, Any]:
        complete = all(each.complete for each in self.data_sets)
        return {"name": self.name, "complete": complete, "data_sets": [each.as_json() for each in self.data_sets]}

    def as_text(self) -> str:
        return "\n\n".join(each.as_text() for each in self.data_sets)

    def failure(self) -> str | None:
        lacking = [each for each in self.data_sets if not each.complete]
        return f"not complete: {', '.join(f'{each.data_set.name} in {each.folder}' for each in lacking)}" if lacking else None


def published_presets() -> Mapping[str, Any]:
    """Get the published recipes by name."""
    from tapetum.bench.published import PRESETS

    return PRESETS


def data_set_names(name: str) -> tuple[str, ...]:
    """Find the data sets that a name stands for: itself, or those of a published preset.

    Raises BadInput for a name that is neither.
    """
    from tapetum.bench.data_sets import DATA_SETS, find_data_set

    presets = published_presets()
    if name in presets and name not in DATA_SETS:
        return tuple(presets[name].data_sets)
    return (find_data_set(name).name,)


@verb(DataCheckOptions, data=("folder",))
def check(options: DataCheckOptions, listener: Listener) -> CheckedData:
    """Check what of the data of a published recipe is in a folder, and whether it can be read.

    Raises BadInput for an unknown name or split, a folder that is not there, and a data set that has no reader.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = check("mmvp", folder)
    >>> found.data_sets[0].complete, found.data_sets[0].parts[0].findings[0].kind
    (False, 'unreadable')
    """
    from tapetum.bench.data_sets import DATA_SETS
    from tapetum.bench.data_sets.check import check_part, choose_parts, reader_of, unchecked

    options.check()
    if not Path(options.folder).is_dir():
        raise BadInput(f"there is no folder {options.folder}; give the folder of the data")
    data_sets = [DATA_SETS[name] for name in data_set_names(options.name)]
    several = len(data_sets) > 1
    if several and options.splits:
        names = ", ".join(each.name for each in data_sets)
        raise BadInput(f"--splits is for one data set, and {options.name} has {names}; check them one by one, or leave it out")
    if not several:
        reader_of(data_sets[0])
    jobs = [(each, part) for each in data_sets for part in choose_parts(each, options.splits)]
    reports: dict[str, list[PartReport]] = {
        each.name: [] if each.reader is not None else [unchecked(each)] for each in data_sets
    }
    places = {each.name: _place(Path(options.folder), each.name, several) for each in data_sets}
    for done, (data_set, part) in enumerate(jobs):
        listener.progress("checking", done, len(jobs))
        reports[data_set.name].append(check_part(data_set, places[data_set.name], part, options.samples))
    listener.progress("checking", len(jobs), len(jobs))
    checked = (CheckedDataSet(data_set=each, folder=places[each.name], parts=tuple(reports[each.name])) for each in data_sets)
    return CheckedData(name=options.name, data_sets=tuple(checked))


def _place(folder: Path, name: str, several: bool) -> Path:
    """Find the folder of a data set: the one with its name, or the given folder itself if there is only one data set."""
    return folder / name if several or (folder / name).is_dir() else folder
