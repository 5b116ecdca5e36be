"""Candidates timed in turn: on a noisy machine a ratio within a round says more than seconds."""

import statistics
import time
from collections.abc import Callable

import jax


def side_by_side(
    candidates: dict[str, Callable[[], jax.Array]], rounds: int, calls: int
) -> dict[str, list[float]]:
    """Seconds a call of each candidate in each round, after one call that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for call in candidates.values():
        jax.block_until_ready(call())
    for _ in range(rounds):
        for name, call in candidates.items():
            started = time.perf_counter()
            for _ in range(calls):
                jax.block_until_ready(call())
            seconds[name].append((time.perf_counter() - started) / calls)
    return seconds


def ratios(seconds: dict[str, list[float]], reference: str) -> dict[str, float]:
    """Each candidate's time in those of the reference."""
    return {
        name: statistics.median(
            one / other for one, other in zip(times, seconds[reference], strict=True)
        )
        for name, times in seconds.items()
    }
