"""Evaluation on benchmarks: official files in, the field's own numbers out.

A benchmark is a file with a class, `tapetum.bench.own.Benchmark`, and a row of `BENCHMARKS`, whose references are resolved as
those that users give.
"""

from collections.abc import Mapping

BENCHMARKS: Mapping[str, str] = {
    "davis": "tapetum.bench.davis:Davis",
    "votsp": "tapetum.bench.votsp:Votsp",
}
"""Benchmarks of this project by name, for `tapetum.bench.own.evaluate`."""
