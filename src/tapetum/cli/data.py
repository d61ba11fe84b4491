"""`tapetum data`: shards of samples for training, made and shown."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.cli.output import print_json, progress


@dataclass(frozen=True, kw_only=True)
class Make:
    """Write tar shards (WebDataset's layout) of a folder or of parquet files, byte for byte.

    The folder may hold a folder for each class, or files of which those with one stem belong together (1.jpg, 1.txt).
    Classes are numbered in sorted order; their names are written to classes.json.
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="SOURCE")]
    """Folder, or parquet file of the Hugging Face hub."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder to write, new or empty. It gets all shards, or none where something fails."""
    layout: Literal["classes", "stems", "parquet"] | None = None
    """How the source is laid out; by default that is found out."""
    name: str = "shard"
    """What the shards are called: NAME-000000.tar and so on."""
    samples_per_shard: Annotated[int, tyro.conf.arg(metavar="N")] = 10_000
    """Samples of a shard at most."""
    bytes_per_shard: Annotated[int, tyro.conf.arg(metavar="N")] = 1_000_000_000
    """Bytes after which a shard is ended."""
    shuffle: Annotated[int | None, tyro.conf.arg(metavar="SEED")] = None
    """Write samples in an order drawn by this seed; by default in that of their names or rows."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print what was written as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        import json

        from tapetum.data.shard_sources import open_source
        from tapetum.data.shards import refuse_content, write_shards
        from tapetum.files import whole_folder

        refuse_content(self.out)
        source = open_source(self.source, self.layout)
        with whole_folder(self.out) as folder, progress() as bars:
            samples = iter(source) if self.shuffle is None else source.shuffled(self.shuffle, folder.parent)
            paths = write_shards(
                bars.track(samples, len(source), description="writing"),
                folder,
                self.name,
                samples_per_shard=self.samples_per_shard,
                bytes_per_shard=self.bytes_per_shard,
            )
            written = sum(path.stat().st_size for path in paths)
            if source.classes is not None:
                (folder / "classes.json").write_text(json.dumps(list(source.classes), ensure_ascii=False, indent=0) + "\n")
        if self.json:
            print_json({"out": str(self.out), "samples": len(source), "shards": len(paths), "bytes": written})
        else:
            print(f"wrote {len(source):,} samples in {_counted(len(paths))}, {_size(written)}, into {self.out}")


@dataclass(frozen=True, kw_only=True)
class Show:
    """Say what shards hold: samples, bytes, and the fields of the first sample."""

    shards: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SHARDS")]
    """Tar files, a folder of them, or a pattern such as 'train-{0000..0007}.tar'."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        from tapetum.data.shards import KEY, Shards

        shards = Shards(self.shards)
        stored, first = shards.read(0), shards[0]
        fields = [{"name": name, "bytes": len(stored[name]), **_kind(first[name])} for name in shards.fields]
        size = sum(tar.stat().st_size for tar in shards.tars)
        content = {
            "samples": len(shards),
            "shards": len(shards.tars),
            "bytes": size,
            "first": {"key": first[KEY], "fields": fields},
        }
        if self.json:
            print_json(content)
            return
        print(f"{len(shards):,} samples in {_counted(len(shards.tars))}, {_size(size)}; the first is {first[KEY]}")
        for field in fields:
            shape = "x".join(map(str, field["shape"])) if "shape" in field else ""
            print(f"{field['name']:16} {field['bytes']:>12,} bytes  {field['type']:8} {shape}".rstrip())


Action = (
    Annotated[Make, tyro.conf.subcommand("shards", prefix_name=False)]
    | Annotated[Show, tyro.conf.subcommand("show", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class Data:
    """Make and show tar shards, from which training reads any modalities."""

    action: Action

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.action.run()


def _kind(value: Any) -> dict[str, Any]:
    """Type of a value, and its shape if it has one; of sound that of the samples, and the rate."""
    if hasattr(value, "rate"):
        return {**_kind(value.samples), "rate": value.rate}
    if hasattr(value, "dtype"):
        return {"type": str(value.dtype), "shape": list(value.shape)}
    return {"type": type(value).__name__}


def _counted(shards: int) -> str:
    return "1 shard" if shards == 1 else f"{shards:,} shards"


def _size(count: int) -> str:
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= bytes_of:
            return f"{count / bytes_of:.1f} {unit}"
    return f"{count} bytes"
