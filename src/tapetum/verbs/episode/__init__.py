"""One episode of the physical world as files, for `tapetum.verbs.scenes.episodes`: what it imports is too much for a verb."""
