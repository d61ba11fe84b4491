"""Verbs that say what is in images, recordings and videos."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
