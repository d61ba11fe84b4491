"""BootsTAP: self-training on any folder of unlabelled videos; the new tracker is kept only if it scores better."""
