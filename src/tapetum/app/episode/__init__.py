"""One episode of the physical world as files, for `tapetum.app.scenes.episodes`: what it imports is too much for a verb."""
