"""Parses the words of a command line into an options dataclass with tyro; an error is one line.

A command's options are read from its dataclass. Of the errors that people make, five get a sentence of ours:

    an unknown verb                         `tapetum.app.shell.main`, with the nearest name
    an unknown option                       with the nearest name, or what took its place (`tapetum.app.shell.retired`)
    an empty word or value                  as of a shell variable that is not set
    a required option that is missing
    a value of the wrong type

Every other error is the first sentence of tyro's own box.
"""

import inspect
import io
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import MISSING, dataclass, fields, is_dataclass
from itertools import groupby, pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import tyro

from tapetum.app.learn.options import docstrings
from tapetum.app.shell.retired import replacement
from tapetum.core.errors import BadInput, did_you_mean

Options = TypeVar("Options")
SETTINGS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)
"""How fields become options."""
PLACES, NOWHERE = ("--data", "--out"), "nowhere"
"""Options that a dry run need not be given, and what stands for their values there."""


@dataclass(frozen=True)
class Option:
    """An option of a command."""

    names: tuple[str, ...]
    """Without dashes; the first is the usual one."""
    place: tuple[str, ...]
    """Names of fields that lead to its value."""
    default: Any
    """`inspect.Parameter.empty` if it is required."""
    switch: bool
    """It takes no value: --x or --no-x."""
    repeated: bool
    """It takes one value each time it is given."""
    help: str
    metavar: str
    """What stands for its value in help."""


@dataclass(frozen=True)
class Positional:
    """A word of a command that has no dashes."""

    name: str
    several: bool
    """It may be given more than once."""
    required: bool
    help: str


def parse(options: type[Options], words: Sequence[str], path: str, dry: bool = False) -> Options:
    """Parse `words` into a dataclass of options; help goes to stdout. A `dry` run lacks no places.

    Raises BadInput, in one line, where the words do not fit; SystemExit after help.
    """
    box, columns = io.StringIO(), os.environ.get("COLUMNS")
    try:
        with redirect_stderr(box):
            # tyro breaks no line of its box then, and its help never ends in a single column
            os.environ["COLUMNS"] = str(max(20, shutil.get_terminal_size().columns) if "--help" in words else 1000)
            return tyro.cli(options, prog=path, args=list(words), config=SETTINGS)
    except SystemExit as stop:
        if not stop.code:
            raise
        texts = [line[2:].rstrip(" │|") for line in box.getvalue().splitlines()[1:]]  # without title and frame
        parts = [
            list(part) for rule, part in groupby(texts, lambda line: bool(line) and not set(line) - set("─-╰╯ ")) if not rule
        ]
        first = parts[0]
    finally:
        os.environ.pop("COLUMNS", None)
        os.environ.update({} if columns is None else {"COLUMNS": columns})
    missing = [line.split()[0] for line in first if re.match(r"    \S", line)]
    if dry and missing and all(name in PLACES or name[0] != "-" for name in missing):
        positionals = [NOWHERE for name in missing if name[0] != "-"]
        places = [word for name in missing if name in PLACES for word in (name, NOWHERE)]
        return parse(options, [*positionals, *words, *places], path)
    raise BadInput(f"{_reason(' '.join(' '.join(first).split()), missing)} (see: {path} --help)")


def _reason(text: str, missing: Sequence[str]) -> str:
    """Shorten the text of a box of tyro's."""
    if missing:
        return f"{', '.join(missing)} must be given"
    if wrong := re.match(r"Error parsing (\S+): no type matching (\S+) could be instantiated from \[(.*?)\]\.", text):
        needed = wrong[2].replace("{None}|", "").replace("|{None}", "")
        return f"{wrong[1]}: {wrong[3]} is no {needed}"
    if wrong := re.match(
        r"Error parsing (\S+): (?:invalid literal for (int)|could not convert string to (float)).*: ('.*')", text
    ):
        return f"{wrong[1]}: {wrong[4]} is no {(wrong[2] or wrong[3]).upper()}"
    return text.replace("Unrecognized options:", "nothing takes").rstrip(".")


def options_of(kind: type) -> list[Option]:
    """List the options of a command, including those of its configs (`tapetum.app.learn.options`)."""
    texts = docstrings(kind)
    return [one for name, type_, value in _fields(kind) for one in _below(name, type_, value, (), texts.get(name, ""))]


def positionals_of(kind: type) -> list[Positional]:
    """List the positional words of a command, in order."""
    every: list[Positional] = []
    for name, annotation, default in _fields(kind):
        marks = getattr(annotation, "__metadata__", ())
        if tyro.conf.Positional in marks:
            shown = [mark.metavar for mark in marks if getattr(mark, "metavar", None)]
            several = get_origin(_plain_type(annotation)) is tuple
            text = " ".join(docstrings(kind).get(name, "").split())
            every.append(Positional((shown or [name])[-1], several, default is inspect.Parameter.empty, text))
    return every


def check_words(options: type, words: Sequence[str], path: str) -> None:
    """Raise BadInput for an unknown option in `words`, naming the nearest or what took its place, and for an empty word."""
    known, may_be_empty = {"help"}, set[str]()
    for option in options_of(options):
        known |= {*option.names, *(f"no-{name}" for name in option.names if option.switch)}
        may_be_empty |= set(option.names) if option.default == "" else set()
    for before, word in pairwise(["", *words]):
        name = plain(word)
        if not word and not (before.startswith("--") and plain(before) in may_be_empty):
            what = f"{before} is followed by" if before.startswith("--") else "there is"
            raise BadInput(f"{path}: {what} an empty word, as of a variable that is not set; give a value, or leave it out")
        if word.startswith("--") and word.endswith("=") and name not in may_be_empty and name in known:
            raise BadInput(f"{path}: --{name} has an empty value; give one, or leave the option out")
        if word == "--":
            return
        if word.startswith("--") and name not in known and not name.startswith("tyro-"):
            others = sorted(known - {"help"})
            listed = f"it has {', '.join(f'--{other}' for other in others)}"
            near = replacement(path, name) or did_you_mean(name, others, listed, dashes="--")
            raise BadInput(f"{path} has no option --{name}; {near} (see: {path} --help)")


def names_last(kind: type, words: Sequence[str]) -> list[str]:
    """Move positional words behind the options, so that options may stand anywhere among several names.

    >>> from tapetum.app.see.ask import AskOptions
    >>> names_last(AskOptions, ["a.png", "--frames", "4", "b.png", "what?", "--raw"])
    ['--frames', '4', '--raw', 'a.png', 'b.png', 'what?']
    """
    switches = {name for option in options_of(kind) if option.switch for name in option.names}
    switches |= {f"no-{name}" for name in switches} | {"help"}
    chosen: list[str] = []
    names: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            names += rest
        elif word.startswith("--"):
            chosen.append(word)
            if "=" not in word and plain(word) not in switches and (value := next(rest, None)) is not None:
                chosen.append(value)
        else:
            (chosen if word == "-h" else names).append(word)
    return [*chosen, *(["--"] if any(name.startswith("-") for name in names) else []), *names]


def plain(word: str) -> str:
    """Write the name of an option as on the command line.

    >>> plain("--save_every=5")
    'save-every'
    """
    return word[2:].partition("=")[0].replace("_", "-")


def _fields(kind: type) -> Iterator[tuple[str, Any, Any]]:
    types = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        if field.init:
            needed = field.default is MISSING and field.default_factory is MISSING
            default = None if field.default is MISSING else field.default
            yield field.name, types[field.name], inspect.Parameter.empty if needed else default


def _plain_type(annotation: Any) -> Any:
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _metavar(kind: Any, marks: Iterable[Any] = ()) -> str:
    """Write what stands for a value of a type in help, such as {yes,no} or INT."""
    if shown := [mark.metavar for mark in marks if getattr(mark, "metavar", None)]:
        return shown[-1]
    if get_origin(kind) is Annotated:
        return _metavar(_plain_type(kind), kind.__metadata__)
    parts = [part for part in get_args(kind) if part not in (NoneType, Ellipsis)]
    if get_origin(kind) is Literal:
        return f"{{{','.join(map(str, parts))}}}"
    if get_origin(kind) is tuple:
        return f"{_metavar(parts[0])} ..."
    if get_origin(kind) in (Union, UnionType):
        return "|".join(dict.fromkeys(map(_metavar, parts)))
    return "{True,False}" if kind is bool else getattr(kind, "__name__", "VALUE").upper()


def _below(name: str, annotation: Any, default: Any, place: tuple[str, ...], text: str) -> Iterator[Option]:
    marks = getattr(annotation, "__metadata__", ())
    kind = _plain_type(annotation)
    if tyro.conf.Positional in marks:
        return
    place = (*place, name)
    names, aliases = [name], []
    for each in marks:
        if factory := getattr(each, "constructor_factory", None):
            for parameter in inspect.signature(factory()).parameters.values():
                yield from _below(parameter.name, parameter.annotation, parameter.default, place, "")
            return
        names += filter(None, [getattr(each, "name", None)])
        text = getattr(each, "help", None) or text
        aliases += [alias.lstrip("-") for alias in getattr(each, "aliases", None) or ()]
    if is_dataclass(kind) and isinstance(kind, type):
        for inner, type_, value in _fields(kind):
            yield from _below(inner, type_, value, place, docstrings(kind).get(inner, ""))
        return
    repeated = tyro.conf.UseAppendAction in marks
    yield Option(
        names=tuple(word.replace("_", "-") for word in (names[-1], *aliases)),
        place=place,
        default=inspect.Parameter.empty if default is tyro.MISSING else default,
        switch=kind is bool and tyro.conf.FlagConversionOff not in marks,
        repeated=repeated,
        help=" ".join(text.split()),
        metavar=_metavar(kind, marks).removesuffix(" ..." * repeated),
    )
