"""The base of every other package: errors, files, jobs, devices, memory and tables. Does not import torch itself."""

from tapetum.core.lazy import lazy_modules

__getattr__ = lazy_modules(__name__)
