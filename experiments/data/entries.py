"""What a row of the table of datasets is."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Entry:
    """A row of the table of datasets."""

    load: Callable[[], Arrays]  # inputs, targets, split, upper and/or lower, and what else there is
    summary: str
    unit: str
    group: str = ""  # of related datasets, which count once; in DATASETS by default the name
    role: str = "study"  # one of catalogue.ROLES
    title: str = ""  # for readers, in place of its name
    columns: tuple[str, ...] = ()  # what the targets' features are called
    times: np.ndarray | None = None  # of the targets' steps, (windows, H): text or datetime64
