"""What other packages bring: users' own classes, by reference, and entry points. Imports no torch.

    my_method.py:MyMethod         a class in a file
    my_package.methods:MyMethod   a class in an importable module
    rotation                      an entry point in the group of its kind, such as "tapetum.methods"

An entry point is found by its group and name. `GROUPS` lists all groups: most hold classes, as above; "tapetum.commands" and
"tapetum.weights" hold commands and modules (docs/guides/bring-your-own.md, "A package"). tapetum's own package registers its
sources of clips there, and tapetum-world (packages/world) all that it brings.

Only a reference from the user, in Python or on the command line, is resolved. A reference in a checkpoint or a file of
weights is never imported: it is compared (`check_recorded`) with the user's reference, or it is the name of an
entry point, whose package the user has installed.
"""

import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module, util
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from tapetum.core.errors import BadInput, TapetumError, did_you_mean, install_line

Kind = Literal["method", "encoder", "tracker", "task", "benchmark", "clips", "video_clips", "video_task", "command", "weights",
               "exporter"]  # fmt: skip
GROUPS: Mapping[Kind, str] = {
    "method": "tapetum.methods",
    "encoder": "tapetum.encoders",
    "tracker": "tapetum.trackers",
    "task": "tapetum.tasks",
    "benchmark": "tapetum.benchmarks",
    "clips": "tapetum.clips",
    "video_clips": "tapetum.video_clips",
    "video_task": "tapetum.video_tasks",
    "command": "tapetum.commands",
    "weights": "tapetum.weights",
    "exporter": "tapetum.exporters",
}
"""Groups of entry points, by what they name: a class; for "command", as VERB or VERB.NAME, a verb, a `Command` or a `Group` of
`tapetum.app`; for "weights" a module like those in `tapetum.hub.registry.OWNERS`; for "exporter" an `Exporter` of
`tapetum.tracks.exporters`."""
WORLD: Mapping[Kind, tuple[str, ...]] = {
    "clips": ("bodies", "both"),
    "video_clips": ("ordered-events",),
    "video_task": ("films",),
    "command": (
        *("scenes.images", "scenes.episodes", "scenes.films"),
        *("train.paligemma", "train.paligemma-nano", "eval.scenes"),
    ),
    "weights": ("paligemma-nano-2", "mcvit-films"),
}
"""Names that come with the package tapetum-world."""
_given: dict[type, str] = {}
"""Classes that were resolved in this process, each with its reference."""
_files: dict[str, str] = {}
"""Files of users' own classes, each with the last reference to a class in it."""
_FILE = re.compile(r"(?P<module>.+\.py):(?P<name>[A-Za-z_]\w*)")
_MODULE = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):(?P<name>[A-Z]\w*)")


def is_reference(text: str, kind: Kind) -> bool:
    """Check whether `text` has the form of a reference to a class, or names an entry point; nothing is imported.

    >>> [is_reference(text, "encoder") for text in ("nets/my_net.py:MyNet", "my_nets.big:MyNet", "resnet-18", "timm:vit_tiny")]
    [True, True, False, False]
    """
    return bool(_FILE.fullmatch(text) or _MODULE.fullmatch(text)) or text in installed(kind)


def split_reference(text: str, kind: Kind) -> tuple[str, str]:
    """Split REFERENCE=REST, where REST is a file of weights of that class; REST is empty if there is none.

    >>> split_reference("my_net.py:MyNet=run/encoder.safetensors", "encoder"), split_reference("my_net.py:MyNet", "encoder")
    (('my_net.py:MyNet', 'run/encoder.safetensors'), ('my_net.py:MyNet', ''))
    """
    reference, equals, rest = text.partition("=")
    return (reference, rest) if equals and is_reference(reference, kind) else (text, "")


def resolve_class(reference: str, kind: Kind) -> Any:
    """Import the class of a reference; the same reference always returns the same class.

    The folder of a file is appended to `sys.path`, so that workers, which are other processes, find the class too.

    Raises:
        BadInput: the file, module, entry point or class does not exist; it cannot be imported; or another module has the
            file's name.
    """
    where = _FILE.fullmatch(reference) or _MODULE.fullmatch(reference)
    if where is None:
        entries = installed(kind)
        if reference not in entries:
            check_world(kind, reference)
            otherwise = f"give FILE.py:CLASS, or install a package with one in {GROUPS[kind]}"
            raise BadInput(f"there is no {kind} {reference!r}; {did_you_mean(reference, entries, otherwise)}")
        module, name = entries[reference].module, entries[reference].attr
    else:
        module, name = where["module"], where["name"]
        if reference.partition(":")[0].endswith(".py"):
            module = _module_of_file(Path(module), reference)
    cls = _class_of(_imported(module, reference), name, reference)
    _given.setdefault(cls, reference)
    if not cls.__module__.startswith(("tapetum.", "tapetum_world.")):
        _files[inspect.getfile(cls)] = reference
    return cls


def find_class(name: str, kind: Kind) -> Any | None:
    """Import the class of a reference; None for other texts.

    Raises BadInput for a name of the package tapetum-world, if that is not installed.
    """
    check_world(kind, name)
    return resolve_class(name, kind) if is_reference(name, kind) else None


def load_entry(kind: Kind, name: str) -> Any:
    """Import what the entry point of an installed package names. Raises BadInput if it cannot be imported."""
    entry = installed(kind)[name]
    module = _imported(entry.module, name)
    if not entry.attr:
        return module
    if not hasattr(module, entry.attr):
        raise BadInput(f"{entry.module} has no {entry.attr}, which {name} names; install that package again")
    return getattr(module, entry.attr)


def missing_world(kind: Kind, name: str) -> str | None:
    """Say how to install the package tapetum-world, if a name comes with it and it is not installed."""
    if name not in WORLD.get(kind, ()) or util.find_spec("tapetum_world") is not None:
        return None
    return f"{name.replace('.', ' ')} comes with the package tapetum-world, which is not installed: {install_line('world')}"


def check_world(kind: Kind, name: str) -> None:
    """Raise BadInput for a name of the package tapetum-world, if that is not installed."""
    if line := missing_world(kind, name):
        raise BadInput(line)


def resolve_subclass(reference: str, kind: Kind, base: type) -> Any:
    """Import the class of a reference, as `resolve_class`, and check that it derives from `base`.

    Raises BadInput if it does not, or lacks methods that `base` leaves open.
    """
    cls = resolve_class(reference, kind)
    if not issubclass(cls, base):
        raise BadInput(f"{reference} is no {kind}; derive it from {base.__module__}.{base.__qualname__}")
    if missing := sorted(getattr(cls, "__abstractmethods__", ())):
        raise BadInput(f"{reference} lacks {', '.join(missing)}; write them, see docs/guides/bring-your-own.md")
    return cls


def own_error(error: BaseException) -> str | None:
    """Say what a user's own class raised, and where; None for an error that none of them raised, and for a TapetumError."""
    if isinstance(error, TapetumError):
        return None
    text = " ".join(str(error).split())[:200]
    what = f"ended the program (exit {text or 0})" if isinstance(error, SystemExit) else f"{type(error).__name__}: {text}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if (reference := _files.get(frame.filename)) is not None:
            return f"{reference_label(reference)}, line {frame.lineno}, in {frame.name}: {what}; mend that code"
    return None


@contextmanager
def naming_own_code() -> Iterator[None]:
    """Turn what a user's own class raises, SystemExit too, into BadInput that says where."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if (line := own_error(error)) is None:
            raise
        raise BadInput(line) from error


def own_files() -> dict[str, str]:
    """Get the files of users' classes that this process knows, with their references; a worker adds those of its parent."""
    return _files


def reference_of(cls: type) -> str | None:
    """Look up the user's reference to this class in this process; None for a class without a reference."""
    return _given.get(cls)


def given_reference(recorded: str, kind: Kind) -> str:
    """Find the reference with which the user loaded the class named in a file, or the entry point of that name.

    Raises BadInput if the user gave none in this process: code named in a file is never imported because of it.
    """
    for reference in _given.values():
        if reference_label(reference) == recorded:
            return reference
    if recorded in installed(kind):
        return recorded
    advice = f"give {recorded}=FILE" if ":" in recorded else "install the package that has it"
    raise BadInput(f"the file was made with the {kind} {recorded[:80]!r}, whose code is not in it; {advice}")


def reference_label(reference: str) -> str:
    """Shorten a reference to the name used for its class in records and reports: without folders.

    >>> reference_label("methods/my_method.py:MyMethod"), reference_label("rotation")
    ('my_method.py:MyMethod', 'rotation')
    """
    module, colon, name = reference.rpartition(":")
    return f"{Path(module).name}:{name}" if colon else reference


def record_of_class(reference: str, kind: Kind) -> dict[str, str]:
    """Describe a class for a checkpoint or a file of weights: its reference, without folders, and its file's fingerprint."""
    from tapetum.core.identity import fingerprint

    cls = resolve_class(reference, kind)
    return {"reference": reference_label(reference), "fingerprint": fingerprint(inspect.getfile(cls))}


def check_recorded(record: Mapping[str, str], reference: str, kind: Kind, place: str | os.PathLike[str]) -> str | None:
    """Compare the user's class with the one that a file was made with.

    Returns a message if the class has this name but its file has changed since; None if it is the same.
    Raises BadInput if it is another class.
    """
    given = record_of_class(reference, kind)
    if given["reference"] != record.get("reference"):
        raise BadInput(f"{place} was made with {record.get('reference')}, not with {given['reference']}; give that one")
    if given["fingerprint"] == record.get("fingerprint"):
        return None
    return f"{given['reference']} has changed since {place} was made with it"


def installed(kind: Kind) -> Mapping[str, EntryPoint]:
    """List the entry points of installed packages, by name; nothing is imported."""
    return _entries_of(GROUPS[kind], tuple(sys.path))


@lru_cache
def _entries_of(group: str, path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Read the entry points once per search path: each time reads the files of all installed packages."""
    return {entry.name: entry for entry in entry_points(group=group)}


def _module_of_file(path: Path, reference: str) -> str:
    """Make the module of a file importable, and return its name."""
    path = path.resolve()
    if not path.is_file():
        raise BadInput(f"there is no file {path.name} for {reference}; give a file of Python and a class in it")
    if not path.stem.isidentifier():
        raise BadInput(f"{path.name} cannot be imported by this name; rename it to letters, digits and _, such as my_net.py")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = sys.modules[path.stem].__spec__ if path.stem in sys.modules else util.find_spec(path.stem)
    origin = spec.origin if spec is not None else None
    if origin is None or Path(origin).resolve() != path:
        raise BadInput(f"{path.name} has the name of another module, {path.stem}; rename the file")
    return path.stem


def _imported(module: str, reference: str) -> Any:
    try:
        return import_module(module)
    except TapetumError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise BadInput(f"there is no module {module} for {reference}; install it, or give FILE.py:CLASS") from error
        raise BadInput(f"{reference} cannot be imported: it needs {error.name}, which is not installed") from error
    except (Exception, SystemExit) as error:  # whatever the user's own code raises
        frames, stem = traceback.extract_tb(error.__traceback__), module.rpartition(".")[2]
        at = [each.lineno for each in frames if Path(each.filename).stem == stem]
        line = f", line {number}" if (number := error.lineno if isinstance(error, SyntaxError) else at and at[-1]) else ""
        reason = (str(error).splitlines() or [""])[0][:200]
        raise BadInput(f"{reference} cannot be imported: {type(error).__name__}{line}: {reason}; mend the file") from error


def _class_of(module: Any, name: str, reference: str) -> Any:
    attribute = getattr(module, name, None)
    if inspect.isclass(attribute):
        return attribute
    own = [each for each, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__]
    advice = f"it has {', '.join(own[:5])}" if own else "it has none"
    raise BadInput(f"{reference} is no class; {advice}")
