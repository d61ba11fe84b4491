"""Verbs that score models and say what runs cost."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
