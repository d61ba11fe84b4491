"""`tapetum eval BENCHMARK`: a score on a benchmark, each in a file of its own."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
