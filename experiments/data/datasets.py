"""A dataset as it is trained on, checked and scaled; by name, or from a user's `.npz`.

Targets and bounds are divided by one positive factor per dataset, the root mean square of the
training targets, and never shifted: order, sign and zero survive. What the network reads is
standardised, feature by feature: less its mean, by its standard deviation, of the training split.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from experiments.data.arrays import content_hash, moments, scaled
from experiments.data.catalogue import DATASETS
from experiments.data.checks import (
    BOUNDS,
    SPLITS,
    SUMS,
    broken,
    completed,
    refuse_infeasible,
)
from experiments.data.entries import Arrays, Entry
from experiments.data.user_files import read
from experiments.usage import UsageError, choose

ARRAYS = ("inputs", "future", "targets", *BOUNDS, *SUMS, "where", "lengths")
MAY_BREAK = {"wrong_bound": (0, 1, 2), "dial": (0, 1)}
"""By role: the splits whose targets may break their bounds."""
FLOAT32 = np.finfo(np.float32)
Standard = tuple[np.ndarray, np.ndarray]  # deviation and mean of each feature


@dataclass(frozen=True)
class Dataset:
    """Windows of one dataset: T steps that the network reads, H that it gives, of float32."""

    name: str
    role: str  # one of catalogue.ROLES
    group: str  # of related datasets
    inputs: np.ndarray  # (windows, T, F), standardised
    targets: np.ndarray  # (windows, H, K), in scaled units; 0 where missing
    lower: np.ndarray | None  # of the targets' shape; None where the dataset has no such side
    upper: np.ndarray | None
    split: np.ndarray  # (windows,), an index into SPLITS
    scale: float  # what one scaled unit is, in `unit`
    unit: str
    hash: str  # of the arrays and the scale above, and of those below that decide numbers
    infeasible: float = 0.0  # share of targets outside their bounds
    sum_lower: np.ndarray | None = None  # of the features' sum, (windows, H, 1)
    sum_upper: np.ndarray | None = None
    future: np.ndarray | None = None  # what is known ahead, (windows, H, F'), standardised
    where: np.ndarray | None = None  # the targets that count, of their shape; None: all
    lengths: np.ndarray | None = None  # (windows,), steps that are no padding; None: all
    standards: Mapping[str, Standard] = field(default_factory=dict)  # of inputs and future
    title: str = ""  # for readers
    columns: tuple[str, ...] = ()  # names of the targets' features
    times: np.ndarray | None = None  # of the targets' steps, (windows, H)

    def rows(self, split: str) -> np.ndarray | slice:
        """The windows of one split; a slice, which copies nothing, where they follow each other."""
        rows = np.flatnonzero(self.split == SPLITS.index(split))
        together = len(rows) and rows[-1] - rows[0] == len(rows) - 1
        return slice(rows[0], rows[-1] + 1) if together else rows

    def part(self, split: str) -> dict[str, np.ndarray | None]:
        """The arrays of one split, by their names."""
        rows = self.rows(split)
        arrays = {key: getattr(self, key) for key in ARRAYS}
        return {key: None if array is None else array[rows] for key, array in arrays.items()}

    def sides(self) -> tuple[str, ...]:
        """The bounds that there are, of "lower", "upper", "sum_lower" and "sum_upper"."""
        return tuple(side for side in (*BOUNDS, *SUMS) if getattr(self, side) is not None)

    def target_range(self) -> dict[str, np.ndarray]:
        """Smallest ("lower") and largest ("upper") training target of each feature."""
        part = self.part("train")
        targets, counts = part["targets"], part["where"]
        counts = True if counts is None else counts
        return {
            "lower": targets.min((0, 1), where=counts, initial=np.inf),
            "upper": targets.max((0, 1), where=counts, initial=-np.inf),
        }


def load(name: str, allow_infeasible: bool = False) -> Dataset:
    """The dataset of that name, or of that path where it ends in `.npz`.

    Args:
      name: a name of DATASETS, or a path; a dataset is named as its file, without its ending.
      allow_infeasible: whether targets may break their bounds.

    Raises:
      UsageError: for an unknown name, or arrays that cannot be used: says which and where.
    """
    path = Path(name)
    if path.suffix == ".npz":
        if path.stem in DATASETS:
            raise UsageError(
                f"{path} would be called {path.stem}, as a dataset of the table is: rename it."
            )
        return prepared(path.stem, read(path), allow_infeasible, source=name)
    return prepared(name, choose("dataset", name, DATASETS), allow_infeasible)


def prepared(
    name: str, entry: Entry, allow_infeasible: bool = False, source: str | None = None
) -> Dataset:
    """A row of the table, or what is like one, as it is trained on.

    Args:
      name: the dataset's.
      entry: the row.
      allow_infeasible: whether targets may break their bounds.
      source: what an error calls it, if not by its name.
    """
    source = source or name
    arrays = completed(source, entry.load())
    outside = broken(arrays)
    if not allow_infeasible:
        held = ~np.isin(arrays["split"], MAY_BREAK.get(entry.role, ()))[:, None, None]
        refused = {key: where & held for key, where in outside.items()}
        refuse_infeasible(source, entry.unit, arrays, refused)
    any_side = np.any(np.broadcast_arrays(*outside.values()), axis=0)
    counted = arrays.get("where", np.ones(1, bool))
    share = any_side.sum() / np.broadcast_to(counted, any_side.shape).sum()
    return _scaled(name, entry, arrays, float(share))


def _scaled(name: str, entry: Entry, arrays: Arrays, infeasible: float) -> Dataset:
    training = arrays["split"] == 0
    counts = arrays.get("where")
    targets = arrays["targets"][training]
    targets = targets if counts is None else targets[counts[training]]
    with np.errstate(over="ignore"):
        scale = float(np.sqrt(np.mean(np.square(targets, dtype=np.float64))))
    if not float(FLOAT32.tiny) <= scale <= float(FLOAT32.max):
        raise UsageError(
            f"{name}: the training targets' root mean square is {scale}; it must be positive, and "
            "a float32, to scale by."
        )
    found = {
        key: scaled(arrays[key], np.float64(scale), np.float64(0))
        for key in ("targets", *BOUNDS, *SUMS)
        if key in arrays
    }
    standards = {key: _standard(name, key, arrays) for key in ("inputs", "future") if key in arrays}
    found |= {key: scaled(arrays[key], *standard) for key, standard in standards.items()}
    for key in ("inputs", "future", "targets"):
        if key in found and not np.isfinite(found[key]).all():
            raise UsageError(
                f"{name}: some {key} are beyond float32 once scaled by the training split. Mend or "
                "rescale them."
            )
    lengths = arrays.get("lengths")
    if lengths is not None:
        found["inputs"][np.arange(found["inputs"].shape[1]) >= lengths[:, None]] = 0
    found |= {"where": counts} if counts is not None else {}
    found |= {"lengths": lengths.astype(np.int32)} if lengths is not None else {}
    split = arrays["split"].astype(np.uint8)
    return Dataset(
        name=name,
        role=entry.role,
        group=entry.group,
        **dict.fromkeys(ARRAYS) | found,
        split=split,
        scale=scale,
        unit=entry.unit,
        hash=content_hash(found | {"split": split, "scale": np.float32(scale)}),
        standards=standards,
        infeasible=infeasible,
        title=entry.title,
        columns=entry.columns,
        times=entry.times,
    )


def _standard(name: str, key: str, arrays: Arrays) -> Standard:
    """Deviation and mean of each feature over the training split, padding left out."""
    training, known = arrays["split"] == 0, None
    if key == "inputs" and "lengths" in arrays:
        known = np.arange(arrays[key].shape[1]) < arrays["lengths"][training, None]
    mean, deviation = moments(arrays[key][training], known)
    for feature, found in enumerate(deviation):
        if not 0 < found < np.inf:
            raise UsageError(
                f"{name}: the standard deviation of feature {feature} of {key} is {found} over the "
                "training split; it must be positive and finite to scale by. Rescale that feature."
            )
    return deviation, mean
