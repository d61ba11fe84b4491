"""Learning rate and weight decay by step.

The rate rises linearly in the warm-up, then goes on by name:

    cosine         half a cosine to the floor (SGDR without restarts, arXiv 1608.03983, eq. 5)
    linear         a line to the floor
    constant       stays; a cool-down may lead to the floor in the last steps
    inverse_sqrt   sqrt(warm-up's length / steps made) (Transformer, arXiv 1706.03762, section 5.3), with a cool-down as in
                   "Scaling Vision Transformers" (arXiv 2106.04560, section 3.5): the run may be made longer later
    drops          a tenth at each of some shares of the run, as detectors learn (Detectron)
"""

import math

from tapetum.train.config import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """Give the learning rate used by step `step` (0-based).

    The warm-up's first step already moves (lr / warmup_steps, not 0), its last one reaches lr; the run's last step is at
    final_lr, where the schedule or a cool-down leads there.

    >>> config = TrainConfig(steps=11, batch_size=1, lr=1.0, final_lr=0.1, warmup_steps=4)
    >>> [round(learning_rate(step, config), 3) for step in (0, 1, 3, 10)]
    [0.25, 0.5, 1.0, 0.1]
    >>> config = TrainConfig(steps=9, batch_size=1, lr=1.0, schedule="drops")
    >>> [round(learning_rate(step, config), 3) for step in (5, 6, 7, 8)]
    [1.0, 0.1, 0.1, 0.01]
    """
    begins = config.steps - config.cooldown_steps
    if config.cooldown_steps and step >= begins:
        top = _before_cooldown(begins - 1, config)
        return top + (config.final_lr - top) * (step + 1 - begins) / config.cooldown_steps
    return _before_cooldown(step, config)


def _before_cooldown(step: int, config: TrainConfig) -> float:
    if step < config.warmup_steps:
        return config.lr * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "inverse_sqrt":
        return config.lr * math.sqrt(config.warmup_steps / (step + 1))
    if config.schedule == "drops":
        return config.lr * 0.1 ** sum(step >= share * config.steps for share in config.drops)
    start = max(config.warmup_steps - 1, 0)
    progress = min((step - start) / max(config.steps - 1 - start, 1), 1.0)
    if config.schedule == "linear":
        return config.lr + (config.final_lr - config.lr) * progress
    return config.final_lr + (config.lr - config.final_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))


def weight_decay(step: int, config: TrainConfig) -> float:
    """Give the weight decay used by step `step` (0-based), of what has no decay of its own.

    >>> config = TrainConfig(steps=11, batch_size=1, weight_decay=0.04, final_weight_decay=0.4)
    >>> [round(weight_decay(step, config), 3) for step in (0, 5, 10)]
    [0.04, 0.22, 0.4]
    """
    if config.final_weight_decay is None:
        return config.weight_decay
    progress = min(step / max(config.steps - 1, 1), 1.0)
    gap = config.weight_decay - config.final_weight_decay
    return config.final_weight_decay + gap * 0.5 * (1.0 + math.cos(math.pi * progress))
