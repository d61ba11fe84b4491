"""Odin: objects and representations discovered together. Imports no torch by itself."""
