"""LongViViT and MC-ViT: video encoders from 16 frames to hours, on one skeleton. Imports no torch by itself."""
