"""Official files of weights, of big_vision and of Hugging Face: the names of their tensors, and reading them piece by piece."""
