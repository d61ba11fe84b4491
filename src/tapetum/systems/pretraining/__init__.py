"""Six ways to pre-train an encoder, after "Where Should I Spend My FLOPs?". Imports no torch by itself."""
