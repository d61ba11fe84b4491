"""What people click and browse: the page and its server, index and search, napari. It calls the verbs as a user does."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
