"""Index of images and films, and search in it."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
