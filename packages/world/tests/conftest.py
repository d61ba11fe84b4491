"""The fixtures and guards of tapetum's own tests."""

from conftest import clip, forks, interrupts_as_before, pickled_for_workers, ray_cluster, run

__all__ = ["clip", "forks", "interrupts_as_before", "pickled_for_workers", "ray_cluster", "run"]
