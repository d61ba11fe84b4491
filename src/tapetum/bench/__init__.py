"""Evaluation on benchmarks: reads official files and computes the field's standard metrics.

A benchmark is a file with a class, `tapetum.bench.own.Benchmark`, and a row of `BENCHMARKS`, whose references are resolved like
those that users give.
"""

from collections.abc import Mapping

_BUILT_IN = "tapetum.bench.built_in"
BENCHMARKS: Mapping[str, str] = {
    **dict.fromkeys(("tapvid-davis", "tapvid-rgb-stacking", "tapvid-kinetics", "robotap"), f"{_BUILT_IN}:TapVid"),
    "itto": f"{_BUILT_IN}:Itto",
    "davis": "tapetum.bench.davis:Davis",
    "votsp": "tapetum.bench.votsp:Votsp",
    "egoschema": f"{_BUILT_IN}:EgoSchema",
    "next-qa": f"{_BUILT_IN}:NextQa",
    "video-mme": f"{_BUILT_IN}:VideoMme",
    "lvbench": f"{_BUILT_IN}:LvBench",
    "longvideobench": f"{_BUILT_IN}:LongVideoBench",
    "motion": f"{_BUILT_IN}:VideoMotion",
}
"""Benchmarks of this project, for `tapetum.bench.own.evaluate`, by the name of the data set as `tapetum data check` has it."""
