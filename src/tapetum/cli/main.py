"""`tapetum VERB ...`: reads the command line, runs one verb, and turns errors into one line and an exit code.

Each verb is a dataclass in a file of its own: its fields are the options, its docstrings are the help, and `run` does
the work. Nothing heavy is imported until `run`, so that help is quick.

Exit codes: 0 done; 2 something that the user can mend; 130 interrupted; 141 the reader of our output has gone.
Set TAPETUM_DEBUG=1 to see where an error comes from.
"""

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated

import tyro

from tapetum.cli.bootstrap import Bootstrap
from tapetum.cli.convert import Convert
from tapetum.cli.data import Data
from tapetum.cli.embed import Embed
from tapetum.cli.evaluate import Eval
from tapetum.cli.export import Export
from tapetum.cli.hip import Hip
from tapetum.cli.scenes import Scenes
from tapetum.cli.show import Show
from tapetum.cli.tapvid3d import TapVid3D
from tapetum.cli.track import Track
from tapetum.cli.train import Train
from tapetum.cli.weights import Weights
from tapetum.errors import TapetumError

Verb = (
    Annotated[Track, tyro.conf.subcommand("track")]
    | Annotated[Show, tyro.conf.subcommand("show")]
    | Annotated[Convert, tyro.conf.subcommand("convert")]
    | Annotated[Eval, tyro.conf.subcommand("eval")]
    | Annotated[Embed, tyro.conf.subcommand("embed")]
    | Annotated[Scenes, tyro.conf.subcommand("scenes")]
    | Annotated[Data, tyro.conf.subcommand("data")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Bootstrap, tyro.conf.subcommand("bootstrap")]
    | Annotated[TapVid3D, tyro.conf.subcommand("tapvid3d")]
    | Annotated[Hip, tyro.conf.subcommand("hip")]
    | Annotated[Weights, tyro.conf.subcommand("weights")]
    | Annotated[Export, tyro.conf.subcommand("export")]
)

_DESCRIPTION = "Track any point through video, learn from any modality, score it all, make synthetic scenes and train on them."
_MENDABLE, _INTERRUPTED, _NO_READER = 2, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (those of the process by default) and return the exit code."""
    warnings.filterwarnings("ignore", module="PIL")  # what matters of a damaged or large picture is said by an error of ours
    try:
        verb = tyro.cli(
            Verb,  # pyright: ignore[reportArgumentType]
            prog="tapetum",
            description=_DESCRIPTION,
            args=sys.argv[1:] if arguments is None else arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        verb.run()
        sys.stdout.flush()
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
    return 0


def _complain(message: str, code: int) -> int:
    if os.environ.get("TAPETUM_DEBUG"):
        traceback.print_exc()
    print(f"tapetum: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
