"""One episode of the physical world as files, for `tapetum scenes episodes`: what it imports is too much for a verb."""
