"""Help of a command in one screen: what it does, examples, and the options that most people need.

These are the options in the command's examples (`examples.txt`), those that must be given, and those in `USUAL`; a command with
few options shows all. `tapetum VERB --help all` prints what tyro makes of the whole dataclass.
"""

import inspect
import shutil
import textwrap
from functools import cache
from pathlib import Path

from tapetum.app.commands import first_sentence
from tapetum.app.shell.parsing import options_of, positionals_of

USUAL = frozenset({"out", "data", "model", "encoder", "device", "batch-size", "minutes", "steps", "epochs", "dry", "json"})
"""Options that are shown wherever they are."""
FEW, WIDEST, COLUMN = 14, 110, 26
"""Options that are all shown; columns of the text, and of the names of options."""


def brief(options: type, path: str) -> str:
    """Write the short help of a command; `path` is what calls it, such as "tapetum scenes make"."""
    width = min(shutil.get_terminal_size().columns, WIDEST)
    every, positionals, shown = options_of(options), positionals_of(options), examples(path)
    needed = [option for option in every if option.default is inspect.Parameter.empty]
    given = {word[2:] for line in shown for word in line.split() if word.startswith("--")}
    few = every if len(every) <= FEW else [one for one in every if one in needed or {*one.names} & (USUAL | given)]
    words = [each.name if each.required else f"[{each.name}]" for each in positionals]
    words += [f"--{each.names[0]} {each.metavar if len(each.metavar) < COLUMN else '...'}" for each in needed]
    first, *rest = (" ".join(paragraph.split()) for paragraph in inspect.cleandoc(options.__doc__ or "").split("\n\n"))
    lines = [" ".join(["usage:", path, *words, "[options]"]), "", *textwrap.wrap(first, width)]
    lines += textwrap.wrap(f"{first_sentence(rest[0])}." if rest else "", width)
    lines += ["", "examples:", *(f"  {line}" for line in shown)] if shown else []
    lines += ["", "options:"]
    for each in positionals:
        lines += _entry(each.name, first_sentence(each.help), width)
    for option in few:
        valued = not option.switch and option.default not in (None, "", (), inspect.Parameter.empty)
        text = first_sentence(option.help) + (f" (default: {option.default})" if valued else "")
        lines += _entry(f"--{option.names[0]}{'' if option.switch else ' ' + option.metavar}", text, width)
    left_out = len(every) - len(few)
    return "\n".join([*lines, "", f"{f'All {len(every)} options' if left_out else 'In full'}: {path} --help all"])


def examples(path: str) -> list[str]:
    """List the examples of a command, or those of its group with its name in place of *."""
    command, _, name = path.partition(" ")[2].rpartition(" ")
    return _examples().get(path) or [line.replace(" * ", f" {name} ") for line in _examples().get(f"tapetum {command} *", [])]


@cache
def _examples() -> dict[str, list[str]]:
    examples: dict[str, list[str]] = {}
    for line in Path(__file__).with_name("examples.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            examples[f"tapetum {line.strip('[]')}"] = below = []
        elif line:
            below.append(line)
    return examples


def _entry(name: str, text: str, width: int) -> list[str]:
    """Write one option: its name, and beside it the text, cut after the second line."""
    beside = textwrap.wrap(text, max(width - COLUMN, 24), max_lines=2, placeholder=" ...") or [""]
    if len(name) > COLUMN - 4:
        return [f"  {name}", *(" " * COLUMN + line for line in beside)]
    return [f"  {name:{COLUMN - 2}}{beside[0]}".rstrip(), *(" " * COLUMN + line for line in beside[1:])]
