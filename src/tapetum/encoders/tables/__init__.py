"""Names of tensors in other libraries, to ours and back, each used exactly once."""
