"""Verbs that score models and report the costs of runs."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
