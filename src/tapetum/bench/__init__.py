"""Evaluation on benchmarks: official files in, the field's own numbers out."""
