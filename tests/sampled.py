"""What `make test` samples, and `make thorough` runs in full."""

from collections.abc import Callable, Collection, Iterable

import pytest


def sampled(values: Iterable, sample: Collection | Callable[[object], bool]) -> list:
    """Values of a parametrisation: `make test` runs those in the sample, `make thorough` all.

    The sample is some of the values, or says of one whether it is in it. A tuple is a value for
    several names.
    """
    values = list(values)
    if not callable(sample) and (unknown := [one for one in sample if one not in values]):
        raise ValueError(f"{unknown} of the sample are none of {values}")
    kept = [bool(sample(value)) if callable(sample) else value in sample for value in values]
    if not any(kept):
        raise ValueError(f"none of {values} is in the sample: make test would prove nothing")
    return [
        _of(value, () if keep else pytest.mark.thorough)
        for value, keep in zip(values, kept, strict=True)
    ]


def sampled_unoptimised(values: Iterable, sample: Collection | Callable[[object], bool]) -> list:
    """The same in a module that is `unoptimised`, of what `make thorough` also optimises."""
    values = list(values)
    quick = [param for param in sampled(values, sample) if not param.marks]
    return quick + [_of(value, (pytest.mark.optimised, pytest.mark.thorough)) for value in values]


def _of(value, marks):
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=marks)
