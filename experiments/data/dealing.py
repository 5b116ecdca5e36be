"""Which split each window is in, so that windows which know of each other are together."""

import numpy as np

SPLIT_SEED = 0


def deal(day: np.ndarray, block: int = 14) -> np.ndarray:
    """Split index of each window, by blocks of `block` days dealt 5:1:1 within every seven.

    Every seven blocks (about a season) give five to training and one each to validation and
    test, in an order drawn from a fixed seed: each split sees every season, and few neighbouring
    days are parted. Windows of the same day (at several sites) always go together.
    """
    generator = np.random.default_rng(SPLIT_SEED)
    blocks = int(day.max()) // block + 1
    rounds = [generator.permutation([0, 0, 0, 0, 0, 1, 2]) for _ in range(-(-blocks // 7))]
    return np.concatenate(rounds)[day // block].astype(np.uint8)


def deal_in_turns(blocks: int) -> np.ndarray:
    """Split index of each block of a series, such as of 52 days: of every seven, a year, five to
    training and one each to validation and test, which are two blocks further on every year.

    With few blocks, drawing them as `deal` does may give a split one season alone.
    """
    year, place = np.divmod(np.arange(blocks), 7)
    test, validation = 2 * year % 7, (2 * year + 3) % 7
    return np.where(place == test, 2, place == validation).astype(np.uint8)


def deal_in_order(windows: int) -> np.ndarray:
    """Split index of each window: the first 70 % training, then 15 % validation, then test."""
    held_out = max(1, round(0.15 * windows))
    counts = [max(0, windows - 2 * held_out), held_out, held_out]
    return np.repeat(np.arange(3, dtype=np.uint8), counts)[:windows]
