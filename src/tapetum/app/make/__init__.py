"""Verbs that generate data, and files for other programs."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
