"""Verbs that track points through video."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
