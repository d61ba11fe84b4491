"""Learning rate by step: linear warm-up, then a cosine down to a floor (SGDR without restarts, arXiv 1608.03983, eq. 5)."""

import math

from tapetum.train.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Learning rate used by step `step` (0-based).

    The warm-up's first step already moves (lr / warmup_steps, not 0), its last one reaches lr; the run's last step is at
    final_lr.

    >>> config = TrainConfig(steps=11, batch_size=1, lr=1.0, final_lr=0.1, warmup_steps=4)
    >>> [round(learning_rate(step, config), 3) for step in (0, 1, 3, 10)]
    [0.25, 0.5, 1.0, 0.1]
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    start = max(config.warmup_steps - 1, 0)
    progress = min((step - start) / max(config.steps - 1 - start, 1), 1.0)
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))
