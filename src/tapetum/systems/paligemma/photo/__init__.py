"""PaliGemma's decoder on the maps of a classifier of ImageNet, for photographs. Not of the paper."""
