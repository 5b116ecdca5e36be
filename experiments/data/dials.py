"""Made data where one thing is turned at a time: a demand, cut by a capacity that is known.

    demand = level + f(weather, price, hour) + noise,    target = min(demand, capacity)

What is drawn is the same everywhere, from one seed: a dial changes what its name says, and of that
what it must.
"""

from dataclasses import dataclass, replace

import numpy as np

TRAINING, VALIDATION, TEST = 1000, 200, 300  # windows
STEPS = 24
LEVEL = 4.0  # of demand, in units of the standard deviation of what the inputs explain
NOISE = 0.5  # of demand, which no input tells
SWING = 1.5  # of the capacity, up and down
MEMORY = 0.8  # what weather, price and capacity keep from one step to the next
SEED = 0


@dataclass(frozen=True)
class Setting:
    """What can be turned; as it is, the base."""

    on_bound: float = 30  # % of demands that reach the capacity
    windows: int = TRAINING  # that are trained on
    follows: float = 0  # correlation of the capacity with what the inputs explain of demand
    label_noise: float = 0  # of training and validation targets, in standard deviations of them
    test_bound: float = 1  # capacity in the test split, times this


SAYINGS = {
    "on_bound": "{:g} % on the bound",
    "windows": "{:g} training windows",
    "follows": "a bound that follows the demand, correlation {:g}",
    "label_noise": "noise of {:g} deviations on training and validation targets",
    "test_bound": "the test split's bound times {:g}",
}
TURNS: dict[str, tuple[float, ...]] = {
    "on_bound": (0, 10, 30, 60, 90),
    "windows": (50, 100, 200, 500, 1000),
    "follows": (0, 0.5, 0.9, 0.99, 1),
    "label_noise": (0, 0.25, 0.5, 1, 2),
    "test_bound": (0.6, 0.8, 0.9, 1),
}
"""By what is turned: its values, the base's among them."""


def _named(dial: str, value: float) -> str:
    """Such as `dial_follows_0_9`."""
    given = f"{value:g}".replace(".", "_")
    return "dial_base" if value == getattr(Setting(), dial) else f"dial_{dial}_{given}"


DIALS: dict[str, dict[float, str]] = {
    dial: {value: _named(dial, value) for value in values} for dial, values in TURNS.items()
}
"""By what is turned, and its value: the dataset."""

SETTINGS: dict[str, Setting] = {
    name: replace(Setting(), **{dial: value})
    for dial, names in DIALS.items()
    for value, name in names.items()
}
"""By dataset."""


def said(setting: Setting) -> str:
    """What is turned, in words."""
    turned = [
        words.format(getattr(setting, dial))
        for dial, words in SAYINGS.items()
        if getattr(setting, dial) != getattr(Setting(), dial)
    ]
    return ", ".join(turned) or SAYINGS["on_bound"].format(setting.on_bound)


def made(setting: Setting) -> dict[str, np.ndarray]:
    """Windows of inputs, targets and upper bound, and their splits.

    Args:
      setting: what is turned, and how far.
    """
    generator = np.random.default_rng(SEED)
    split = np.repeat(np.arange(3, dtype=np.uint8), (TRAINING, VALIDATION, TEST))
    weather, price, swing = (_path(generator, len(split)) for _ in range(3))
    hour = 2 * np.pi * (generator.integers(STEPS, size=(len(split), 1)) + np.arange(STEPS)) / STEPS
    explained = _explained(weather, price, hour)
    demand = LEVEL + explained + NOISE * generator.standard_normal(explained.shape)
    error = generator.standard_normal(explained.shape)

    own = SWING * np.tanh(swing)
    capacity = setting.follows * explained + np.sqrt(1 - setting.follows**2) * own
    level = np.quantile(demand - capacity, 1 - setting.on_bound / 100)
    capacity += level if setting.on_bound else level + 1  # so that none touches it
    capacity[split == 2] *= setting.test_bound
    targets = np.minimum(demand, capacity)
    noisy, deviation = split != 2, targets[split == 0].std()
    targets[noisy] += setting.label_noise * deviation * error[noisy]

    kept = np.flatnonzero((split != 0) | (np.arange(len(split)) < setting.windows))
    inputs = np.stack([capacity, weather, price, np.sin(hour), np.cos(hour)], axis=-1)
    return {
        "inputs": inputs[kept],
        "targets": targets[kept, :, None],
        "upper": capacity[kept, :, None],
        "split": split[kept],
    }


def _path(generator: np.random.Generator, windows: int) -> np.ndarray:
    """Windows of what changes little from step to step, of mean 0 and variance 1."""
    path = generator.standard_normal((windows, STEPS))
    for step in range(1, STEPS):
        path[:, step] = MEMORY * path[:, step - 1] + np.sqrt(1 - MEMORY**2) * path[:, step]
    return path


def _explained(weather: np.ndarray, price: np.ndarray, hour: np.ndarray) -> np.ndarray:
    """What the inputs explain of demand: it heats and cools, buys less at a high price, most so
    by day, and remembers the weather. Of mean 0 and variance 1."""
    felt = np.cumsum(weather, axis=1) / np.arange(1, STEPS + 1)  # mean of the window so far
    found = np.abs(weather) + 0.5 * felt + np.sin(hour) - np.tanh(price) * (1 + 0.5 * np.sin(hour))
    return (found - found.mean()) / found.std()
