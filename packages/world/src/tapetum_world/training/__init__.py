"""Training tasks on the synthetic world that no paper has."""
