"""Evaluation on benchmarks: reads official files and computes the field's standard metrics.

A benchmark is a file with a class, `tapetum.bench.own.Benchmark`, and a row of `BENCHMARKS`, whose references are resolved like
those that users give.
"""

from collections.abc import Mapping

BENCHMARKS: Mapping[str, str] = {
    "davis": "tapetum.bench.davis:Davis",
    "votsp": "tapetum.bench.votsp:Votsp",
}
"""Benchmarks of this project by name, for `tapetum.bench.own.evaluate`."""
