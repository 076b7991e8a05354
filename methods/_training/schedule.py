"""What depends on the number of the step alone: the learning rate and the seed of all chance."""

import math

from .settings import TrainerSettings


def lr_at(config: TrainerSettings, step: int, per_epoch: int) -> float:
    """Learning rate of a step: a cosine from `lr` to `final_lr`, by epochs or by steps, after a linear warm-up."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    if config.schedule == "epoch":
        share = (step // per_epoch) / config.epochs
    else:
        share = (step - config.warmup) / max(1, config.epochs * per_epoch - config.warmup)
    return config.final_lr + (config.lr - config.final_lr) * (1 + math.cos(math.pi * share)) / 2


def step_seed(seed: int, step: int, rank: int) -> int:
    """A 63-bit seed of one process's step; splitmix64 of the three numbers."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB) % (1 << 64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ mixed >> shift) * factor % (1 << 64)
    return (mixed ^ mixed >> 31) >> 1
