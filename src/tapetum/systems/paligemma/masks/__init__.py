"""The mask codec, which writes a segmentation mask as 16 tokens (All in Tokens, arXiv 2301.02229), and its training."""
