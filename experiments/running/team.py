"""Workers, and what each has compiled."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import NamedTuple

Team = Callable[[], Sequence["Worker"]]  # those there are now


class Lot(NamedTuple):
    """What is compiled together."""

    dataset: str
    backbone: str
    strategies: tuple[str, ...]  # the rows that share a program


@dataclass(eq=False)
class Worker:
    """Runs one batch at a time."""

    executor: Executor
    batch: int  # cells
    devices: list[str]  # their kinds
    restart: Callable[[], None] = lambda: None  # end what it runs, or replace it if it is dead
    lot: Lot | None = None  # what it has compiled
