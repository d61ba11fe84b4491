"""What several test files share: tiny networks, files of every kind, scripts by path, processes. No test stands here."""
