"""A synthetic physical world with exact ground truth, and what learns from it, as a package beside tapetum.

Importing this imports no torch. tapetum itself never imports it; entry points say what `tapetum` gains once it is installed.
"""
