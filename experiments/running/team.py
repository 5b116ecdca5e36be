"""Workers, what each has compiled, what it is asked and what it replies."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from experiments.cells import Cell, Record
from experiments.data.datasets import Dataset

Arrays = Mapping[str, np.ndarray]
Team = Callable[[], Sequence["Worker"]]  # those there are now


class Lot(NamedTuple):
    """What is compiled together."""

    dataset: str
    backbone: str
    strategies: tuple[str, ...]  # the rows that share a program


@dataclass(frozen=True)
class Request:
    """A batch of cells of one dataset, backbone, phase and settings, or of baselines."""

    cells: Sequence[Cell]
    dataset: str  # its name or path
    strategies: Sequence[str]  # the rows that are compiled together, those of the cells among them
    programs: Mapping[str, str]  # the fingerprints of the user's own strategies among them
    allow_infeasible: bool = False  # whether targets may break their bounds
    sources: str = ""  # of the code that asks
    loaded: Dataset | None = None  # the dataset, where the worker is the process that asks
    save: tuple[str, ...] = ()  # of saved.KINDS, of final cells
    training: str = ""  # the fingerprint of what trains them, where some of that is the user's


@dataclass(frozen=True)
class Reply:
    """What came of a request: finished cells, or an error."""

    finished: Sequence[tuple[Record, Arrays]] = ()
    compile_seconds: float = 0.0
    error: str | None = None
    refused: bool = False  # no other worker could do better
    saved: Mapping[str, Mapping[str, Arrays]] = field(default_factory=dict)  # by id and kind
    each: int = 1  # cells that a device trained side by side, at most


@dataclass(eq=False)
class Worker:
    """Runs one batch at a time."""

    executor: Executor
    batch: int  # cells
    devices: list[str]  # their kinds
    restart: Callable[[], None] = lambda: None  # end what it runs, or replace it if it is dead
    lot: Lot | None = None  # what it has compiled
