"""Published weights by name, and safe reading of external files. Imports no torch."""
