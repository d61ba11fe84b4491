"""Lossless adaptation: adapters that leave the trunk bit for bit intact. Imports no torch by itself."""
