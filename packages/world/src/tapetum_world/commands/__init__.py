"""Commands that `tapetum` gains once this package is installed, one file per verb."""
