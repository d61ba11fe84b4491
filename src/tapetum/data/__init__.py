"""Samples for training: by number, from tar shards, from official layouts. Needs no training loop."""
