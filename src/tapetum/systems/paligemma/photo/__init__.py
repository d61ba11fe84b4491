"""PaliGemma's decoder on the feature maps of an ImageNet classifier, for photographs. Not in the paper."""
