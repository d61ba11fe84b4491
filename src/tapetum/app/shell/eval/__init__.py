"""`tapetum eval`: a score on a benchmark, each of which is a command in a file of its own."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from tapetum.app.shell.eval.davis import Davis
from tapetum.app.shell.eval.longvideo import LongVideoEval
from tapetum.app.shell.eval.objects import Objects
from tapetum.app.shell.eval.paligemma import PaliGemmaEval
from tapetum.app.shell.eval.perception_test import PerceptionTest
from tapetum.app.shell.eval.tapvid import TapVid
from tapetum.app.shell.eval.tapvid3d import TapVid3D

Benchmark = (
    Annotated[TapVid, tyro.conf.subcommand("tapvid", prefix_name=False)]
    | Annotated[TapVid3D, tyro.conf.subcommand("tapvid3d", prefix_name=False)]
    | Annotated[PaliGemmaEval, tyro.conf.subcommand("paligemma", prefix_name=False)]
    | Annotated[LongVideoEval, tyro.conf.subcommand("longvideo", prefix_name=False)]
    | Annotated[PerceptionTest, tyro.conf.subcommand("perception-test", prefix_name=False)]
    | Annotated[Davis, tyro.conf.subcommand("davis", prefix_name=False)]
    | Annotated[Objects, tyro.conf.subcommand("objects", prefix_name=False)]
)


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Score a model, or predictions, on a benchmark: TAP-Vid, TAPVid-3D in metres, the Perception Test, questions on scenes,
    long videos, DAVIS, objects found without labels."""

    benchmark: Benchmark

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        self.benchmark.run()
