"""`tapetum data shards` and `tapetum data show`: tar shards, written and looked into."""

from dataclasses import dataclass

from tapetum.app.data import ShowOptions, WriteOptions, show, write
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Write(WriteOptions):
    """Write tar shards (WebDataset's layout) of a folder or of parquet files, byte for byte.

    The folder may hold a folder for each class, or files of which those with one stem belong together (1.jpg, 1.txt).
    Classes are numbered in sorted order; their names are written to classes.json.
    """

    json: bool = False
    """Print what was written as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            made = write.run(self, listener)
        if self.json:
            print_json(made.as_json())
        else:
            print(f"wrote {made.samples:,} samples in {_counted(made.shards)}, {_size(made.bytes)}, into {made.out}")


@dataclass(frozen=True, kw_only=True)
class Show(ShowOptions):
    """Say what shards hold: samples, bytes, and the fields of the first sample."""

    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            shown = show.run(self, listener)
        if self.json:
            print_json(shown.as_json())
            return
        count, size = _counted(shown.shards), _size(shown.bytes)
        print(f"{shown.samples:,} samples in {count}, {size}; the first is {shown.first.key}")
        for field in shown.first.fields:
            shape = "x".join(map(str, field.shape or ()))
            print(f"{field.name:16} {field.bytes:>12,} bytes  {field.type:8} {shape}".rstrip())


def _counted(shards: int) -> str:
    return "1 shard" if shards == 1 else f"{shards:,} shards"


def _size(count: int) -> str:
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_of:
            return f"{count / bytes_of:.1f} {unit}"
    return f"{count} bytes"
