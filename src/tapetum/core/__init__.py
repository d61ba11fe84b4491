"""The base of every other package: errors, files, jobs, devices, memory and tables. Does not import torch itself."""

from tapetum.core.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__, modules=("devices", "errors", "files", "identity", "memory", "reading", "tables"))
