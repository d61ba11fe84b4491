"""`tapetum weights`: which weights there are, and how to get them here."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from tapetum.cli.output import downloads, print_json
from tapetum.errors import BadInput
from tapetum.hub import registry


@dataclass(frozen=True, kw_only=True)
class Weights:
    """List the weights known by name, show where one comes from and where it lies, fetch one, or convert a file.

    Fetched weights are kept in the assets of the Hugging Face cache (or in $TAPETUM_WEIGHTS) as safetensors, with their
    SHA-256, which is checked whenever they are used. An interrupted fetch goes on where it stopped.
    """

    action: tyro.conf.Positional[Literal["list", "show", "fetch", "convert"]]
    """list all of them, show or fetch one, or convert a published checkpoint (.pt, or .npy of JAX)."""
    name: tyro.conf.Positional[str | None] = None
    """Which one to show or fetch, or the file to convert."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE.safetensors")] = None
    """Where to write what was converted; by default beside the file."""
    causal: bool | None = None
    """Whether the network in the file is causal; by default its name decides."""
    softmax_temperature: Annotated[float | None, tyro.conf.arg(metavar="T")] = None
    """Of stage 1 of the network in the file; by default 20."""
    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if (self.action == "list") != (self.name is None):
            raise BadInput("show, fetch and convert take a name, as in: tapetum weights show tapir-nano (list takes none)")
        if self.action != "convert" and (self.out, self.causal, self.softmax_temperature) != (None, None, None):
            raise BadInput("--out, --causal and --softmax-temperature belong to: tapetum weights convert FILE")
        if self.name is None:
            self._list()
        elif self.action == "show":
            self._print(_entry(registry.find(self.name)))
        elif self.action == "fetch":
            from tapetum.hub.fetch import fetch

            with downloads() as show:
                path = fetch(self.name, show)
            self._print({"name": self.name, "path": str(path)})
        else:
            from tapetum.tap.weights.convert import convert

            source = Path(self.name)
            if not source.is_file():
                raise BadInput(f"there is no file {source}; give a published checkpoint, .pt or .npy")
            target = self.out or source.with_suffix(".safetensors")
            convert(source, target, causal=self.causal, softmax_temperature=self.softmax_temperature)
            self._print({"source": str(source), "path": str(target)})

    def _list(self) -> None:
        entries = [_entry(weights) for weights in registry.known().values()]
        if self.json:
            print_json({"weights": entries})
        else:
            print("\n".join(f"{e['name']:22} {'here' if e['here'] else 'away':5} {e['summary']}" for e in entries))

    def _print(self, entry: dict[str, Any]) -> None:
        if self.json:
            print_json(entry)
        else:
            shown = {key: " ".join(value) if isinstance(value, tuple) else value for key, value in entry.items()}
            print("\n".join(f"{key:20} {value}" for key, value in shown.items() if value is not None))


def _entry(weights: registry.Weights) -> dict[str, Any]:
    path = next((p for p in (registry.converted(weights), registry.location(weights)) if p.is_file()), None)
    fields = {key: value for key, value in dataclasses.asdict(weights).items() if key not in ("file", "loader", "converter")}
    return {**fields, **_settings(weights), "path": str(path or registry.converted(weights)), "here": path is not None}


def _settings(weights: registry.Weights) -> dict[str, Any]:
    """What sets a tracker apart from others of its kind."""
    if "track" not in weights.verbs:
        return {}
    from tapetum.tap.config import ARCHITECTURES

    config = ARCHITECTURES[weights.architecture]
    return {key: getattr(config, key) for key in ("causal", "pyramid_level", "extra_convs", "softmax_temperature")}
