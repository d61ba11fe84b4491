"""`tapetum completion`: what a shell has to know of verbs and options.

The script that is printed holds all of it and calls no tapetum: only a python of the shell, whose standard library it needs.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import tyro

PLACES = {
    "bash": "~/.local/share/bash-completion/completions/tapetum",
    "zsh": "~/.zfunc/_tapetum",
    "fish": "~/.config/fish/completions/tapetum.fish",
}
"""Where each shell looks for it."""


@dataclass(frozen=True)
class Completion:
    """Print a script that completes verbs and options in your shell.

    bash: tapetum completion bash > ~/.local/share/bash-completion/completions/tapetum
    zsh: tapetum completion zsh > ~/.zfunc/_tapetum (and fpath+=~/.zfunc before compinit in ~/.zshrc)
    fish: tapetum completion fish > ~/.config/fish/completions/tapetum.fish
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "fish"]]
    """For which shell."""

    def run(self) -> None:
        """Do it."""
        print(script(self.shell), end="")


def script(shell: Literal["bash", "zsh", "fish"]) -> str:
    """Make the script of a shell. It imports the commands of all verbs, none of which imports torch."""
    from contextlib import redirect_stdout, suppress
    from io import StringIO

    from tapetum.app.shell.main import VERBS, command, settings

    verbs: Any = Union[tuple(_named(command(verb), verb, entry.summary) for verb, entry in VERBS.items())]  # noqa: UP007
    caught = StringIO()
    with redirect_stdout(caught), suppress(SystemExit):
        tyro.cli(verbs, prog="tapetum", args=["--tyro-print-completion", shell], config=settings())
    # Where nothing of ours fits, the shell completes names of files.
    return caught.getvalue().replace("\ncomplete -F", "\ncomplete -o bashdefault -o default -F")


def _named(kind: type, verb: str, summary: str) -> Any:
    return Annotated[kind, tyro.conf.subcommand(verb, prefix_name=False, description=summary)]
