"""Datasets that are given as objects, by the names that stand for them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from experiments.data.datasets import Dataset

_known: dict[str, Dataset] = {}


@contextmanager
def known(datasets: Mapping[str, Dataset]) -> Iterator[None]:
    """Within, these names stand for these datasets."""
    _known.update(datasets)
    try:
        yield
    finally:
        for name in datasets:
            _known.pop(name, None)


def known_dataset(name: str) -> Dataset | None:
    """The dataset that a name stands for."""
    return _known.get(name)
