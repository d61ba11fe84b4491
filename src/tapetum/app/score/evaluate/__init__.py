"""`tapetum eval BENCHMARK`: a score on a benchmark, each in a file of its own."""
