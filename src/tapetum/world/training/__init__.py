"""Trainings that stand on the synthetic world and that no paper has."""
