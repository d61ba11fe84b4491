"""`tapetum VERB ...`: reads the command line, runs one verb, and turns errors into one line and an exit code.

Only `VERBS` is loaded until a verb is chosen; then its module is imported and its command built (`tapetum.app.commands`). So
`tapetum --help` imports almost nothing, and `tapetum VERB --help` nothing heavy.

Exit codes: 0 success; 2 failure, explained in one line on stderr; 130 interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP; 141
the reader of our output has gone. Set TAPETUM_DEBUG=1 to see where an error was raised. Notes on an exception about results
saved earlier (`add_note`) are printed too.
"""

import errno
import os
import sys
import threading
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from tapetum.app.shell.signals import ended_by_signals, number_of, pending_signals, remember
from tapetum.app.shell.streams import mute, reader_has_gone, starting, sturdy_streams, visible_results
from tapetum.core.errors import BadInput, Remark, TapetumError, did_you_mean, visible
from tapetum.core.fields import check_sizes
from tapetum.core.plugins import installed, own_error

if TYPE_CHECKING:
    from tapetum.app.commands import Command, Group


class Entry(NamedTuple):
    """A verb on the command line."""

    group: str
    """Under what `tapetum --help` lists it."""
    summary: str
    """One line for `tapetum --help`."""
    command: str
    """Module below `tapetum`, and the name of the verb, command or group in it."""


GROUPS = {
    "track": "follow points through video",
    "see": "what is in images, recordings and videos",
    "learn": "train networks",
    "score": "benchmarks",
    "make": "data, and files for other programs",
    "help": "this machine and this command line",
}
"""What verbs are for, in the order of `tapetum --help`."""

VERBS = {
    "track": Entry(
        "track", "track points through videos, a camera or a stream, in the image or in space", "app.track.many.track_any"
    ),
    "show": Entry("track", "draw saved tracks on their video, or plot them", "app.track.show.show"),
    "convert": Entry("track", "turn tracks into tables of other programs, and back", "app.track.convert.convert"),
    "serve": Entry("track", "open a local page: place points, track them, put them right, ask models", "desk.serve.serve"),
    "classify": Entry("see", "say what is in images, by name", "app.see.classify.classify"),
    "ask": Entry("see", "answer a question about images or a video", "app.see.ask.ask"),
    "caption": Entry("see", "say in a sentence what is to be seen", "app.see.caption.caption"),
    "detect": Entry("see", "find things that words name, or follow them through a video", "app.see.detect.detect_or_follow"),
    "segment": Entry("see", "outline things that words name", "app.see.segment.segment_any"),
    "answer": Entry("see", "say which of several answers fits a video, however long", "app.see.answer.answer"),
    "index": Entry("see", "make an index of images and films, or renew it", "desk.search.index.index"),
    "search": Entry("see", "find images and moments by words or by an example", "desk.search.search.search"),
    "discover": Entry("see", "find objects in images without labels", "app.see.discover.discover"),
    "embed": Entry("see", "make vectors of images, recordings and videos", "app.see.embed.COMMAND"),
    "train": Entry("learn", "train a model by a recipe", "app.learn.train.COMMANDS"),
    "pretrain": Entry("learn", "teach an encoder on images, with labels or without", "app.learn.pretrain.COMMANDS"),
    "adapt": Entry(
        "learn", "teach an encoder something new without changing it; prove that it has not changed", "app.learn.adapt.COMMANDS"
    ),
    "bootstrap": Entry("learn", "teach a tracker on your own videos, which need no labels", "app.learn.bootstrap.COMMAND"),
    "eval": Entry("score", "score a model, or predictions, on a benchmark", "app.score.evaluate.commands.COMMANDS"),
    "submit": Entry("score", "write or check predictions for a benchmark's server", "app.score.submit_perception_test.COMMAND"),
    "tapvid3d": Entry("score", "check or make clips of the benchmark TAPVid-3D", "app.score.tapvid3d.COMMANDS"),
    "probe": Entry("score", "say how good an encoder's features are: neighbours and a linear probe", "app.score.probe.probe"),
    "account": Entry(
        "score", "say what a model or a run costs: parameters, FLOPs by phase, energy, CO2", "app.score.account.account"
    ),
    "study": Entry(
        "score", "say where FLOPs of pre-training are best spent: a sweep and its report", "app.score.study.COMMANDS"
    ),
    "ledger": Entry("score", "say what runs cost: time, FLOPs, energy, CO2; several side by side", "app.score.ledger.ledger"),
    "sample": Entry("make", "put a clip and a few images into a folder, to try commands on", "app.make.sample.sample"),
    "scenes": Entry("make", "make synthetic videos and images with exact truth", "app.make.scenes.COMMANDS"),
    "data": Entry("make", "make tar shards, from which training reads; fetch benchmarks", "app.make.data.COMMANDS"),
    "weights": Entry("make", "list, fetch and convert weights", "app.make.weights.COMMANDS"),
    "export": Entry("make", "make a tracker a file for onnxruntime or torch.export", "app.make.export.export"),
    "doctor": Entry("help", "describe this machine: versions, devices, extras", "app.shell.doctor.doctor"),
}
"""All verbs by name."""

_MENDABLE, _SIGNALLED, _NO_READER = 2, 128, 141
_FULL = errno.ENOSPC, errno.EDQUOT, errno.EFBIG


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (by default those of the process) and return the exit code; never raises."""
    whole_process = arguments is None
    if whole_process:
        os.environ["PYTHONSAFEPATH"] = "1"  # processes that we start import nothing from the folder that we are in
    try:
        with ended_by_signals(for_good=whole_process), sturdy_streams():
            before = sys.unraisablehook, threading.excepthook
            sys.unraisablehook = threading.excepthook = _print_thread_error
            try:
                return _guarded(list(sys.argv[1:] if arguments is None else arguments))
            finally:
                if not whole_process:
                    sys.unraisablehook, threading.excepthook = before
    except KeyboardInterrupt as error:  # in the moment before or after `_guarded`, or again while it was speaking
        return _SIGNALLED + number_of(error)


def _guarded(arguments: list[str]) -> int:
    """Handles all errors in one place."""
    try:
        with pending_signals():
            code = _run(arguments)
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        if (line := own_error(stop)) is not None:
            return _complain(line, stop, _MENDABLE)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt as error:
        return _complain("interrupted", error, _SIGNALLED + number_of(error))
    except TapetumError as error:
        return _complain(str(error), error, _MENDABLE)
    except BrokenPipeError as error:
        if not reader_has_gone():
            return _complain(_unforeseen(error), error, _MENDABLE)
        mute(sys.stdout)
        return _NO_READER
    except OSError as error:
        if (line := own_error(error)) is not None:
            return _complain(line, error, _MENDABLE)
        place = f"{error.filename}: " if error.filename else ""
        if not place and error.errno in _FULL:
            place = "the disk is full, or where results are printed to: "
        try:
            sys.stdout.flush()
        except (OSError, ValueError):
            mute(sys.stdout)
        return _complain(f"{place}{error.strerror or error}; mend that and run again", error, _MENDABLE)
    except BaseException as error:
        return _complain(_unforeseen(error), error, _MENDABLE)


def _unforeseen(error: BaseException) -> str:
    """The message for an unexpected error."""
    if (line := own_error(error)) is not None:
        return line
    name, text = type(error).__name__, " ".join(str(error).split())[:300]
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "DefaultCPUAllocator" in text:
        return f"out of memory ({text or name}); give fewer or smaller inputs at a time, a smaller batch or a smaller model"
    *_, last = [None, *traceback.extract_tb(error.__traceback__)]
    where = f" in {last.name}, line {last.lineno} of {os.path.basename(last.filename)}" if last else ""
    text = f": {text}" if text else ""
    return (
        f"unforeseen {name}{where}{text}; this is a fault of tapetum: run again with TAPETUM_DEBUG=1 and report what it shows"
    )


def _print_thread_error(args: Any) -> None:
    """Prints one line for an error in a thread, or one that Python cannot raise, such as in a finalizer."""
    if args.exc_type is None or issubclass(args.exc_type, SystemExit):
        return
    if issubclass(args.exc_type, KeyboardInterrupt):
        remember(args.exc_value)
    elif isinstance(getattr(args, "thread", None), threading.Thread) or os.environ.get("TAPETUM_DEBUG"):
        _complain(f"{args.exc_type.__name__} beside the work: {args.exc_value}; TAPETUM_DEBUG=1 shows more", args.exc_value, 0)


def command(verb: str) -> "Command | Group":
    """Import the module of a verb, of `VERBS` or of an installed package, and build its command."""
    from tapetum.app.commands import as_command, with_installed
    from tapetum.core.plugins import load_entry

    if verb not in VERBS:
        return as_command(load_entry("command", verb))
    module, _, name = VERBS[verb].command.rpartition(".")
    return with_installed(as_command(getattr(import_module(f"tapetum.{module}"), name)), verb)


def parse(arguments: Sequence[str]) -> Any:
    """Parse `arguments` into the options of the command at their start, without running it.

    Raises BadInput for an unknown verb, subcommand or option, suggesting the nearest one, and for other words that do not fit;
    SystemExit if only help is requested.

    >>> parse(["show", "tracks.npz", "clip.mp4"]).view
    'tracks'
    """
    return _read(arguments).options


class _Parsed(NamedTuple):
    command: "Command"
    path: str
    options: Any
    threads: int | None


def _read(arguments: Sequence[str]) -> _Parsed:
    verb, *rest = arguments
    from tapetum.app.shell.retired import replacement

    if verb not in VERBS and verb not in installed("command"):
        advice = replacement(verb) or did_you_mean(verb, VERBS, f"there are {', '.join(VERBS)}")
        raise BadInput(f"there is no verb {verb!r}; {advice} (see: tapetum --help)")
    from tapetum.app.commands import Group, resolve_command
    from tapetum.app.shell import parsing
    from tapetum.app.shell.settings import with_settings
    from tapetum.app.shell.threads import HELP, has_threads, take_threads

    chosen, path, rest = resolve_command(command(verb), rest, f"tapetum {verb}")
    if isinstance(chosen, Group):
        if rest and rest[0] in ("-h", "--help"):
            print(chosen.as_text(path))
            raise SystemExit(0)
        if rest and not rest[0].startswith("-"):
            advice = replacement(f"{path} {rest[0]}") or did_you_mean(rest[0], chosen.commands)
            raise BadInput(f"{path} has no {rest[0]!r}; {advice} (see: {path} --help)")
        raise BadInput(f"give one of {', '.join(chosen.commands)} (see: {path} --help)")
    if rest and (gone := replacement(f"{path} {rest[0]}")) and not os.path.exists(rest[0]):
        raise BadInput(f"{path} has no {rest[0]!r}; {gone} (see: {path} --help)")
    shares = has_threads(verb, chosen.options)
    rest, threads = take_threads(rest) if shares else (rest, None)
    parsing.check_words(chosen.options, rest, path)
    help_at = next((number for number, word in enumerate(rest) if word in ("-h", "--help")), None)
    if help_at is not None and rest[help_at + 1 : help_at + 2] != ["all"]:
        from tapetum.app.shell.help import brief

        print(brief(chosen.options, path))
        raise SystemExit(0)
    if help_at is not None:
        rest = ["--help"]
    elif chosen.recipe is not None:
        rest = with_settings(chosen.options, chosen.recipe, rest)
    elif len(positionals := parsing.positionals_of(chosen.options)) > 1 and any(each.several for each in positionals):
        rest = parsing.names_last(chosen.options, rest)
    try:
        options = parsing.parse(chosen.options, rest, path, dry=chosen.recipe is not None and "--dry" in rest)
    except SystemExit:  # after help
        print(HELP if shares else "", end="")
        raise
    check_sizes(options, dashes=True)
    return _Parsed(chosen, path, options, threads)


def _run(arguments: list[str]) -> int:
    verb = arguments[0] if arguments else None
    if verb in ("--help", "-h"):
        print(_help())
        return 0
    if verb == "--version":
        from tapetum import __version__

        print(f"tapetum {__version__}")
        return 0
    if verb is None:
        print(_help(), file=sys.stderr)
        return _MENDABLE
    warnings.filterwarnings("ignore", module="PIL")  # what matters of a damaged or large image is said by an error of ours
    from tapetum.app.shell.threads import computing

    with starting(verb), pending_signals():
        chosen = _read(arguments)
        from tapetum.core.provenance import guarded
    with computing(chosen.threads), guarded(chosen.options), visible_results(), warnings.catch_warnings():
        warnings.simplefilter("always", Remark)
        warnings.showwarning = _shown
        _work(chosen)
    return 0


def _work(chosen: _Parsed) -> None:
    """Run a command and print its result; under torchrun only one process prints."""
    from tapetum.app.shell.output import Log, print_result, terminal
    from tapetum.app.shell.settings import with_settings_text
    from tapetum.app.verb import Listener
    from tapetum.train.launch import is_main

    json = getattr(chosen.options, "json", False)
    if chosen.command.recipe is None:
        with terminal(chosen.command.counts, json) as listener:
            result = chosen.command.work(chosen.options, listener)
    else:
        options = with_settings_text(chosen.options, chosen.command.recipe, chosen.path)
        result = chosen.command.work(options, Log(json) if is_main() else Listener())
    if result is not None:
        print_result(result, json, is_main())


def _shown(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """Print a remark as one line, and any other warning as Python does."""
    text = (
        f"tapetum: {message}\n" if issubclass(category, Remark) else warnings.formatwarning(message, category, filename, lineno)
    )
    sys.stderr.write(text)


def _help() -> str:
    width = max(map(len, VERBS))
    lines = [
        "usage: tapetum VERB ...",
        "",
        "Track points through video, ask about images, learn without labels, adapt, and score it all.",
    ]
    for group, meaning in GROUPS.items():
        lines += ["", f"{group}: {meaning}"]
        lines += [f"  {name:{width}}  {entry.summary}" for name, entry in VERBS.items() if entry.group == group]
    packages: dict[str, list[str]] = {}
    for name, entry in sorted(installed("command").items()):
        packages.setdefault(entry.dist.name if entry.dist else entry.module, []).append(name.replace(".", " "))
    if packages:
        lines += ["", "packages: what others bring, once installed"]
        lines += [f"  {package:{width}}  {', '.join(names)}" for package, names in packages.items()]
    return "\n".join([*lines, "", "options of a verb: tapetum VERB --help; all of them: tapetum VERB --help all"])


def _complain(message: str, error: BaseException, code: int) -> int:
    """Prints one line: what went wrong, and which results are known to be saved."""
    if os.environ.get("TAPETUM_DEBUG"):
        traceback.print_exception(error)
    kept = [note for note in getattr(error, "__notes__", ()) if isinstance(note, str)]
    print(f"tapetum: {visible(' '.join('; '.join([message, *kept]).split()))}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
