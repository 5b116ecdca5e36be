"""A dataset's arrays, checked and completed: bounds of the targets' shape, and what counts.

A NaN target is missing. A padded window has `lengths`. Neither counts anywhere, whatever the arrays
hold there.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.data.entries import Arrays
from experiments.usage import UsageError

SPLITS = ("train", "validation", "test")
BOUNDS = ("lower", "upper")
SUMS = ("sum_lower", "sum_upper")
KEPT_WHERE_MISSING = {"lower": -np.inf, "sum_lower": -np.inf, "upper": np.inf, "sum_upper": np.inf}


def is_forecast(arrays: Mapping[str, Any]) -> bool:
    """Whether targets are of other steps than inputs."""
    steps = {arrays[key].shape[1] for key in ("inputs", "targets")}
    return arrays.get("future") is not None or len(steps) == 2


def completed(name: str, arrays: Arrays) -> Arrays:
    """The arrays with bounds of the targets' shape, 0 for missing targets and padded inputs, and,
    where not all of them count, `where`: those that do, (windows, H, K).

    Raises:
      UsageError: where they cannot be trained on: says which, and where.
    """
    _check_kinds(name, arrays)
    shape = arrays["targets"].shape
    shapes = dict.fromkeys(BOUNDS, shape) | dict.fromkeys(SUMS, (*shape[:2], 1))
    found = dict(arrays)
    for key in shapes.keys() & arrays.keys():
        found[key] = _broadcast(name, key, arrays[key], shapes[key])
    _check_split(name, found["split"], len(found["inputs"]))
    known = _known_steps(name, found)
    counts = ~np.isnan(found["targets"])
    if known is not None and not is_forecast(found):
        counts &= known[..., None]
        for key in (*BOUNDS, *SUMS):
            if key in found:
                found[key] = _last_known(found[key], found["lengths"])
    everywhere = counts.all()
    _check_finite(name, "inputs", found["inputs"], known)
    if "future" in found:
        _check_finite(name, "future", found["future"], None)
    _refuse(name, "targets", np.isinf(found["targets"]) & counts, found["targets"])
    for key in shapes.keys() & found.keys():
        of = counts.all(-1, keepdims=True) if key in SUMS else counts
        _refuse(name, key, np.isnan(found[key]) & of, found[key])
        found[key] = _filled(found[key], KEPT_WHERE_MISSING[key])
    _check_counts(name, counts, found["split"])
    if known is not None:
        found["inputs"] = np.where(known[..., None], found["inputs"], 0)
    if everywhere:
        return found
    return found | {"targets": np.where(counts, found["targets"], 0), "where": counts}


def _check_kinds(name: str, arrays: Arrays) -> None:
    """That arrays are numbers, and inputs, targets and future of (windows, T, features)."""
    for key, array in arrays.items():
        if key == "lengths" and array.dtype.kind not in "iu":
            raise UsageError(f"{name}: lengths must be whole numbers, got {array.dtype}.")
        if array.dtype.kind not in "fiub" or (array.dtype.kind == "b" and key != "split"):
            raise UsageError(f"{name}: {key} must be numbers, got {array.dtype}.")
        if key in ("inputs", "targets", "future") and (array.ndim != 3 or 0 in array.shape):
            raise UsageError(
                f"{name}: {key} must be numbers of shape (windows, T, features), "
                f"got {array.dtype} of shape {array.shape}."
            )
    windows, steps = len(arrays["inputs"]), arrays["targets"].shape[1]
    if len(arrays["targets"]) != windows:
        raise UsageError(
            f"{name}: targets must have as many windows as inputs, {windows}, got "
            f"{len(arrays['targets'])}."
        )
    if "future" in arrays and arrays["future"].shape[:2] != (windows, steps):
        raise UsageError(
            f"{name}: future must have the targets' windows and steps, {(windows, steps)}, got "
            f"{arrays['future'].shape[:2]}."
        )


def _broadcast(name: str, key: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise UsageError(
            f"{name}: {key} must have shape {shape}, or one that broadcasts to it, got "
            f"{array.shape}."
        ) from None


def _check_split(name: str, split: np.ndarray, windows: int) -> None:
    if split.shape != (windows,) or not np.isin(split, range(3)).all():
        raise UsageError(
            f"{name}: split must be {windows} of 0 (train), 1 (validation), 2 (test), "
            f"got shape {split.shape} and values {np.unique(split)[:5]}."
        )
    empty = [part for index, part in enumerate(SPLITS) if not (split == index).any()]
    if empty:
        raise UsageError(
            f"{name}: {windows} windows leave no window for {' and '.join(empty)}; "
            "every split needs one at least."
        )


def _known_steps(name: str, arrays: Arrays) -> np.ndarray | None:
    """The steps of inputs that are no padding, (windows, T); None: all."""
    if "lengths" not in arrays:
        return None
    windows, steps, _ = arrays["inputs"].shape
    lengths = arrays["lengths"]
    if lengths.shape != (windows,) or lengths.min() < 1 or lengths.max() > steps:
        raise UsageError(
            f"{name}: lengths must be {windows} whole numbers from 1 to {steps}, one a window, got "
            f"shape {lengths.shape} and values {np.unique(lengths)[:5]}."
        )
    return np.arange(steps) < lengths[:, None]


def _last_known(bound: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A bound that in the padding stays what it last was: it moves no window's maximum."""
    steps = np.minimum(np.arange(bound.shape[1]), lengths[:, None].astype(int) - 1)
    return np.take_along_axis(bound, steps[..., None], axis=1)


def _filled(bound: np.ndarray, without: float) -> np.ndarray:
    """A bound that where it is NaN is what it last was in its window, or first is: it moves no
    window's maximum, and a network may read it. Where it is never known it is `without`."""
    rows = np.flatnonzero(np.isnan(bound).any(axis=(1, 2)))
    if not len(rows):
        return bound
    known = ~np.isnan(bound[rows])
    steps = np.where(known, np.arange(bound.shape[1], dtype=np.int32)[:, None], -1)
    last = np.maximum.accumulate(steps, axis=1)
    last = np.where(last < 0, known.argmax(axis=1)[:, None], last)
    filled = np.take_along_axis(bound[rows], last, axis=1)
    found = np.array(bound)
    found[rows] = np.where(np.isnan(filled), without, filled)
    return found


def _check_finite(name: str, key: str, array: np.ndarray, known: np.ndarray | None) -> None:
    bad = ~np.isfinite(array)
    _refuse(name, key, bad if known is None else bad & known[..., None], array)


def _refuse(name: str, key: str, bad: np.ndarray, array: np.ndarray) -> None:
    if bad.any():
        window, step, feature = np.argwhere(bad)[0]
        raise UsageError(
            f"{name}: {key} is {array[window, step, feature]} at window {window}, step {step}, "
            f"feature {feature} ({bad.sum()} such entries). Drop or fill such windows."
        )


def _check_counts(name: str, counts: np.ndarray, split: np.ndarray) -> None:
    for index, part in enumerate(SPLITS):
        features = counts[split == index].any(axis=(0, 1))
        if not features.all():
            raise UsageError(
                f"{name}: all targets of feature {int(features.argmin())} are missing in "
                f"{part}. Drop that feature, or deal the windows otherwise (split)."
            )


def broken(arrays: Arrays) -> dict[str, np.ndarray]:
    """By bound: which targets that count, or sums of them, lie beyond it."""
    found = {}
    for key in (*BOUNDS, *SUMS):
        if key in arrays:
            value, bound = _bounded(key, arrays), arrays[key]
            beyond = value < bound if key.endswith("lower") else value > bound
            found[key] = beyond & _counted(key, arrays)
    return found


def _bounded(key: str, arrays: Arrays) -> np.ndarray:
    """What a bound is of."""
    targets = arrays["targets"]
    return targets.sum(axis=-1, keepdims=True, dtype=np.float64) if key in SUMS else targets


def _counted(key: str, arrays: Arrays) -> np.ndarray:
    counts = arrays.get("where", np.ones(1, bool))
    return counts.all(axis=-1, keepdims=True) if key in SUMS else counts


def refuse_infeasible(
    name: str, unit: str, arrays: Arrays, outside: Mapping[str, np.ndarray]
) -> None:
    """Refuse targets that break their bounds.

    Raises:
      UsageError: says how many, by how much, and where first.
    """
    lines = [_told(key, unit, arrays, where) for key, where in outside.items() if where.any()]
    if lines:
        raise UsageError(
            f"{name}: targets break their bounds. {' '.join(lines)} Mend them, or keep them with "
            "--allow-infeasible."
        )


def _told(key: str, unit: str, arrays: Arrays, where: np.ndarray) -> str:
    value, bound = (array.astype(np.float64) for array in (_bounded(key, arrays), arrays[key]))
    window, step, feature = first = tuple(map(int, np.argwhere(where)[0]))
    worst = np.abs(value - bound)[where].max()
    share = 100 * where.sum() / np.broadcast_to(_counted(key, arrays), where.shape).sum()
    amount = [f"{worst:.4g}", *([unit] if unit else [])]
    what, at = ("sums of targets", "") if key in SUMS else ("targets", f", feature {feature}")
    return (
        f"{key}: {where.sum()} {what} ({share:.3g} %), by up to {' '.join(amount)}; first at "
        f"window {window}, step {step}{at}: {value[first]:g}, bound {bound[first]:g}."
    )
