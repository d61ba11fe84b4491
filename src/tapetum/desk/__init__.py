"""The interactive tools: the page and its server, index and search, napari. They call the verbs as a user does."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
