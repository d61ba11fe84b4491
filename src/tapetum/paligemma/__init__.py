"""PaliGemma and PaliGemma 2 (arXiv 2407.07726, 2412.03555): pictures and text in; text, boxes and masks out.

Imports no torch by itself.
"""
