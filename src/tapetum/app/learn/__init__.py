"""Verbs that train networks."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
