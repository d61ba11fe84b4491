"""`tapetum eval BENCHMARK`: evaluation on benchmarks, one file per benchmark."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
