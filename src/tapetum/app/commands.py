"""Commands built from verbs: the fields of a verb's dataclass become options; all share --json, progress and exit codes.

A module of `tapetum.app` holds a verb, which `as_command` converts; a `Command`, if its work takes a config
(`tapetum.app.learn.recipes`); or a `Group` of them, such as `tapetum eval`. `tapetum.app.shell` parses, runs and prints them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Annotated, Any, Literal

import tyro

from tapetum.app.verb import Listener, Result, Verb
from tapetum.core.plugins import check_world, installed, load_entry

JSON = Annotated[bool, tyro.conf.arg(help="Print the result as JSON instead of text.")]
"""Type of the option --json."""
Device = Annotated[
    str | None,
    tyro.conf.arg(
        metavar="DEVICE",
        help="Where to compute: auto takes an accelerator if there is one, else cpu; or cpu, cuda, cuda:1, xpu, mps.",
    ),
]
"""Type of the option --device."""


@dataclass(frozen=True)
class Command:
    """A command: what it takes, and what it does."""

    options: type
    """Dataclass whose fields are the options; its docstring is the help."""
    work: Callable[[Any, Listener], Result | None]
    """Does the work for an instance of `options`; None where there is nothing to print. Raises `TapetumError` for what the user
    can mend."""
    counts: Literal["items", "bytes"] = "items"
    """What its progress is counted in."""
    recipe: str | None = None
    """It trains by the recipe of this name: it takes --config, and its run keeps a file of settings."""


@dataclass(frozen=True)
class Group:
    """Commands below a command."""

    help: str
    commands: Mapping[str, Any]
    """By name: a verb, a `Command` or a `Group`."""
    default: str | None = None
    """The command that is meant where the first word names none."""
    other: Callable[[str], Command | None] | None = None
    """Makes the command of a name that is not listed, such as a reference to a class of the user's own."""

    def find(self, name: str) -> "Command | Group | None":
        """Find the command with this name; None if there is none."""
        if name in self.commands:
            return as_command(self.commands[name])
        return self.other(name) if self.other else None

    def as_text(self, path: str) -> str:
        below = {name: as_command(each) for name, each in self.commands.items()}
        helps = {name: each.help if isinstance(each, Group) else each.options.__doc__ or "" for name, each in below.items()}
        width = max(map(len, helps))
        paragraphs = [" ".join(paragraph.split()) for paragraph in self.help.split("\n\n")]
        lines = [f"  {name:{width}}  {first_sentence(text)}" for name, text in helps.items()]
        text = "\n\n".join([f"usage: {path} COMMAND ...", *paragraphs])
        return "\n".join([text, "", "commands:", *lines, "", f"options of a command: {path} COMMAND --help"])


def as_command(chosen: "Verb[..., Any, Result | None] | Command | Group") -> Command | Group:
    """Build the command of a verb: its options and --json. Commands and groups are returned unchanged."""
    if isinstance(chosen, Command | Group):
        return chosen
    return Command(with_json(chosen.options), chosen.run, chosen.counts)


def with_installed(chosen: Command | Group, verb: str) -> Command | Group:
    """Add to a group those commands of installed packages that are named VERB.NAME (`tapetum.core.plugins`)."""
    names = [name for name in installed("command") if name.startswith(f"{verb}.")]
    if not isinstance(chosen, Group) or not names:
        return chosen
    added = {name.removeprefix(f"{verb}."): load_entry("command", name) for name in names}
    return replace(chosen, commands={**chosen.commands, **added, **chosen.commands})  # a name of ours stays ours


def with_json(options: type) -> type:
    """Add the option --json to a dataclass of options unless it has one."""
    if any(each.name == "json" for each in fields(options)):
        return options
    made = make_dataclass(options.__name__, [("json", JSON, field(default=False))], bases=(options,), frozen=True, kw_only=True)
    made.__doc__, made.__module__ = options.__doc__, options.__module__
    return made


def resolve_command(chosen: Command | Group, words: Sequence[str], path: str) -> tuple[Command | Group, str, list[str]]:
    """Resolve the command at the start of `words`: return the command, the path to it, and the remaining words."""
    rest = list(words)
    while isinstance(chosen, Group):
        if chosen.default and rest and rest[0] not in (*chosen.commands, "-h", "--help"):
            rest = [chosen.default, *rest]
        if rest:
            check_world("command", ".".join([*path.split()[1:], rest[0]]))
        if not rest or (below := chosen.find(rest[0])) is None:
            break
        chosen, path, rest = below, f"{path} {rest[0]}", rest[1:]
    return chosen, path, rest


def first_sentence(text: str) -> str:
    """Return the first sentence on one line, without its full stop.

    >>> first_sentence("Score features (DAVIS), e.g. masks: all of\\n    them. Nothing is trained.")
    'Score features (DAVIS), e.g. masks: all of them'
    """
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<!e\.g)(?<!i\.e)\. ", paragraph)[0].removesuffix(".")
