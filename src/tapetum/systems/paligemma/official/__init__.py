"""Official weight files of big_vision and Hugging Face: their tensor names, and reading them piece by piece."""
