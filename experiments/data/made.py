"""Synthetic windows, from a fixed seed; `dials` makes others."""

import numpy as np

from experiments.data.dealing import deal_in_order
from experiments.data.entries import Arrays


def sines(windows: int = 800, steps: int = 24, seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    time = np.arange(steps) / steps
    drawn = generator.uniform([[0.2], [0.5], [0]], [[1], [3], [1]], (2, windows, 3, 1))
    amplitude, frequency, phase = np.moveaxis(drawn, 2, 0)
    signal = np.sum(amplitude * np.sin(2 * np.pi * (frequency * time + phase)), axis=0)
    return _below(signal, signal)


def spectrum(windows: int = 800, channels: int = 24, seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    position = np.linspace(-1, 1, channels)

    def draw(low: float, high: float) -> np.ndarray:
        return generator.uniform(low, high, (windows, 1))

    baseline = draw(0.5, 1.5) + draw(-0.5, 0.5) * position + draw(-0.5, 0.5) * position**2
    signal = baseline + np.abs(generator.normal(0, 0.05, baseline.shape))
    for _ in range(3):
        height, center, width = draw(0, 1.5), draw(-1, 1), draw(0.05, 0.2)
        signal += height * np.exp(-(((position - center) / width) ** 2) / 2)
    return _below(signal, baseline)


def _below(bound: np.ndarray, targets: np.ndarray) -> Arrays:
    seen = bound[..., None]
    split = deal_in_order(len(seen))
    return {"inputs": seen, "targets": targets[..., None], "upper": seen, "split": split}
