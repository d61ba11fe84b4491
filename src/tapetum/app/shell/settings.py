"""Settings files (TOML) of training commands: their keys stand for options, and every run saves one.

A key is the name of an option without the dashes: `batch-size = 8` is `--batch-size 8`. A list gives several words; true and
false turn a switch on and off. The command line takes precedence. `recipe`, if present, must be that of the command.

Every run writes such a file into its folder, with all options and defaults, so that
`tapetum train RECIPE --config run/settings.toml --out other` repeats it even if defaults have changed since.
"""

import inspect
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

from tapetum import __version__
from tapetum.app.shell.parsing import Option, options_of, plain, positionals_of
from tapetum.app.shell.retired import replacement
from tapetum.core.errors import BadInput, did_you_mean
from tapetum.core.reading import MOST_SETTINGS, parse_toml, read_text

NOT_WRITTEN = "out", "minutes", "json", "config", "plan", "dry"
"""Options that a run's own file leaves out, because they are of one call and not of the run."""


def with_settings(kind: type, recipe: str, words: Sequence[str]) -> list[str]:
    """Add options from the file after --config to the `words` of a command of class `kind`, unless already given.

    Raises BadInput if the file cannot be read, is of another recipe, has an unknown key, or a value of the wrong type.
    """
    places = [following for word, following in pairwise(words) if word == "--config"]
    places += [word.partition("=")[2] for word in words if word.startswith("--config=")]
    if not places:
        return list(words)
    file = Path(places[-1])
    content = _read(file)
    theirs = content.pop("recipe", recipe)
    if theirs != recipe:
        raise BadInput(f"{file} holds settings of {theirs!r}, and this is {recipe}; give the settings of a run of {recipe}")
    known = {name: option for option in options_of(kind) for name in option.names}
    given = {plain(word) for word in words if word.startswith("--")}
    given |= {word.removeprefix("no-") for word in given}
    added: list[str] = []
    for key, value in content.items():
        option = known.get(key.replace("_", "-"))
        if value is False and replacement("", key):  # a switch of an earlier release, which was off
            continue
        if option is None:
            advice = did_you_mean(key, known, f"its options are {', '.join(o.names[0] for o in options_of(kind))}")
            raise BadInput(f"{file}: {key!r} is no option of {recipe}; {advice}")
        if not given & set(option.names):
            added += _as_words(option, value, f"{file}: {key}")
    return [*words, *added]


def with_settings_text(given: Any, recipe: str, path: str) -> Any:
    """Add to a run the text of its settings file, which tells how to repeat it: `path` begins the command."""
    names = " ".join([path, *(each.name for each in positionals_of(type(given)) if each.required)])
    return replace(given, launch=replace(given.launch, settings=settings_of(given, recipe, names)))


def settings_of(given: Any, recipe: str, command: str) -> str:
    """Write the text of a settings file that repeats a run, whose command begins with `command`."""
    lines = [f"# tapetum {__version__}; {command} --config THIS-FILE --out DIR repeats the run", f"recipe = {_toml(recipe)}"]
    for option in options_of(type(given)):
        value = reduce(lambda part, name: getattr(part, name, inspect.Parameter.empty), option.place, given)
        if option.names[0] in NOT_WRITTEN or value is inspect.Parameter.empty or (value is None and option.default is None):
            continue
        lines.append(f"{option.names[0]} = {_toml(value)}")
    return "\n".join(lines) + "\n"


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():  # a pipe would be waited for
        raise BadInput(f"--config {file}: there is no such file; give a file of settings, such as the settings.toml of a run")
    try:
        return parse_toml(read_text(file, most=MOST_SETTINGS))
    except OSError as error:
        raise BadInput(f"--config {file} cannot be read ({error.strerror}); give a file of settings") from error
    except ValueError as error:  # of TOML or of UTF-8
        raise BadInput(f"--config {file} is no TOML ({error}); write lines such as steps = 100") from error


def _as_words(option: Option, value: Any, place: str) -> list[str]:
    """Command-line words for a value in the file; `place` names its location."""
    name, many = option.names[0], value if isinstance(value, list) else [value]
    if any(isinstance(each, dict) or not isinstance(each, str | int | float) for each in many):
        raise BadInput(f"{place} is a {type(value).__name__}; wanted words, numbers, true, false, or a list of them")
    if option.switch:
        if not isinstance(value, bool):
            raise BadInput(f"{place} is {value!r}; wanted true or false")
        return [] if value == option.default else [f"--{name}" if value else f"--no-{name}"]
    if option.repeated:
        return [word for each in many for word in (f"--{name}", str(each))]
    return [f"--{name}", *map(str, many)]


def _toml(value: Any) -> str:
    if value is None:
        return '"None"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
