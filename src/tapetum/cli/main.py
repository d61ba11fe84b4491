"""`tapetum VERB ...`: reads the command line, runs one verb, and turns errors into one line and an exit code.

`VERBS` is all that is known of the verbs until one is chosen; then the module of that one is imported. Its command is a
dataclass: the fields are the options (those of a dataclass in `tapetum.verbs`, and how the result is printed), its docstrings
are the help, and `run` calls a function of `tapetum.verbs` and prints. So `tapetum --help` imports next to nothing, and
`tapetum VERB --help` nothing heavy.

Exit codes: 0 done; 2 something that the user can mend; 130 interrupted; 141 the reader of our output has gone.
Set TAPETUM_DEBUG=1 to see where an error comes from.

Where systems to come will stand: a row in `VERBS` and a file beside this one, or a file in a folder of one file a system.

    group   verb                             system             file
    see     ask, caption, detect, segment    paligemma          cli/ask.py, cli/caption.py, cli/detect.py, cli/segment.py
    see     search                           longvideo          cli/search.py
    see     discover                         odin               cli/discover.py
    learn   train pretrain, train odin ...   all                cli/train/SYSTEM.py: recipes of `train`
    learn   adapt                            adapters           cli/adapt.py
    score   eval perception-test ...         perception_test    cli/eval/perception_test.py: benchmarks of `eval`
    score   account                          account            cli/account.py: what runs cost, side by side
    make    data perception-test ...         perception_test    cli/data/perception_test.py: makers of files to learn from
"""

import difflib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NamedTuple

from tapetum.errors import BadInput, TapetumError


class Entry(NamedTuple):
    """A verb that may be chosen."""

    command: str
    """Module below `tapetum.cli` and name of its dataclass, with a dot between."""
    group: str
    """Under what `tapetum --help` lists it."""
    summary: str
    """One line for `tapetum --help`."""


GROUPS = {
    "track": "follow points through video",
    "see": "what is in pictures, recordings and videos",
    "learn": "train networks",
    "score": "benchmarks",
    "make": "data, and files for other programs",
}
"""What verbs are for, in the order of `tapetum --help`."""

VERBS = {
    "track": Entry("track.Track", "track", "track points through videos, a camera or a stream, in the picture or in space"),
    "show": Entry("show.Show", "track", "draw saved tracks on their video"),
    "convert": Entry("convert.Convert", "track", "turn tracks into tables of other programs, and back"),
    "classify": Entry("classify.Classify", "see", "say what is in pictures, by name"),
    "embed": Entry("embed.Embed", "see", "make vectors of pictures, recordings and videos"),
    "hip": Entry("hip.Hip", "see", "say what a Hierarchical Perceiver will be before anything runs"),
    "train": Entry("train.Train", "learn", "train a model by a recipe"),
    "bootstrap": Entry("bootstrap.Bootstrap", "learn", "teach a tracker on your own videos, which need no labels"),
    "eval": Entry("eval.Eval", "score", "score a tracker, or predictions, on a benchmark"),
    "tapvid3d": Entry("tapvid3d.TapVid3D", "score", "check or make clips of the benchmark TAPVid-3D"),
    "scenes": Entry("scenes.Scenes", "make", "make synthetic videos and pictures with exact truth"),
    "data": Entry("data.Data", "make", "make and show tar shards, from which training reads"),
    "weights": Entry("weights.Weights", "make", "list, fetch and convert weights"),
    "export": Entry("export.Export", "make", "make a tracker a file for onnxruntime or torch.export"),
}
"""All verbs by name."""

_MENDABLE, _INTERRUPTED, _NO_READER = 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (those of the process by default) and return the exit code."""
    try:
        code = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KeyboardInterrupt:
        return _complain("interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _NO_READER
    except TapetumError as error:
        return _complain(str(error), _MENDABLE)
    except MemoryError:
        return _complain("out of memory; try a shorter or smaller video, or fewer points", _MENDABLE)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return _complain(f"{place}{error.strerror or error}; mend that and run again", _MENDABLE)


def command(verb: str) -> type:
    """Import the dataclass of a verb of `VERBS`."""
    module, _, name = VERBS[verb].command.rpartition(".")
    return getattr(import_module(f"tapetum.cli.{module}"), name)


def parse(arguments: Sequence[str]) -> Any:
    """Read `arguments` into the command of the verb that they begin with, without running it.

    Raises BadInput for a verb that there is not, with the nearest one, and SystemExit where the rest does not fit.

    >>> parse(["show", "tracks.npz", "clip.mp4"]).view
    'tracks'
    """
    verb, *rest = arguments
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(VERBS)}"
        raise BadInput(f"there is no verb {verb!r}; {advice} (see: tapetum --help)")
    import tyro

    settings = tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff
    return tyro.cli(command(verb), prog=f"tapetum {verb}", args=rest, config=settings)


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
    warnings.filterwarnings("ignore", module="PIL")  # what matters of a damaged or large picture is said by an error of ours
    parse(arguments).run()
    return 0


def _help() -> str:
    width = max(map(len, VERBS))
    lines = ["usage: tapetum VERB ...", "", "Track any point through video, learn from any modality, score it all."]
    for group, meaning in GROUPS.items():
        lines += ["", f"{group}: {meaning}"]
        lines += [f"  {name:{width}}  {entry.summary}" for name, entry in VERBS.items() if entry.group == group]
    return "\n".join([*lines, "", "options of a verb: tapetum VERB --help"])


def _complain(message: str, code: int) -> int:
    if os.environ.get("TAPETUM_DEBUG"):
        traceback.print_exc()
    print(f"tapetum: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
