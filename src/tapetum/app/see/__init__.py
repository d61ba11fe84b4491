"""Verbs that recognize and describe the content of images, recordings and videos."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
