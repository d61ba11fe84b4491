"""`tapetum weights`: which weights there are, and how to get them here."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from tapetum.app import weights
from tapetum.app.shell.output import downloads, print_json, terminal
from tapetum.app.verb import narrowed
from tapetum.app.weights import ConvertOptions, ConvertSettings, FetchOptions
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Weights(ConvertSettings):
    """List the weights known by name, show where one comes from and where it lies, fetch one, or convert a file.

    Fetched weights are kept in the assets of the Hugging Face cache (or in $TAPETUM_WEIGHTS) as safetensors, with their
    SHA-256, which is checked whenever they are used. An interrupted fetch goes on where it stopped.
    """

    action: tyro.conf.Positional[Literal["list", "show", "fetch", "convert"]]
    """list all of them, show or fetch one, or convert a checkpoint of a tracker (.pt, or .npy of JAX), or an encoder from or
    for another library."""
    name: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="NAME|FILE")] = None
    """Which one to show or fetch, or the file to convert; for an encoder also a folder, or timm:NAME=FILE."""
    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        if (self.action == "list") != (self.name is None):
            raise BadInput("show, fetch and convert take a name, as in: tapetum weights show tapir-nano (list takes none)")
        if self.action != "convert" and (self.out, self.to, self.causal, self.softmax_temperature) != (None,) * 4:
            raise BadInput("--out, --to, --causal and --softmax-temperature belong to: tapetum weights convert FILE")
        if self.name is None:
            self._list()
        elif self.action == "show":
            self._print(weights.show(self.name).as_json())
        elif self.action == "fetch":
            with downloads() as listener:
                fetched = weights.fetch.run(FetchOptions(self.name), listener)
            self._print(fetched.as_json())
        else:
            with terminal() as listener:
                converted = weights.convert.run(narrowed(ConvertOptions, self, source=self.name), listener)
            self._print(converted.as_json())

    def _list(self) -> None:
        entries = [entry.as_json() for entry in weights.known()]
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
