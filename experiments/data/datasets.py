"""A dataset as it is trained on, checked and scaled; by name, or from a user's `.npz`.

Values are divided by one positive factor per dataset, the root mean square of the training
targets, and never shifted: order, sign and zero survive.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.data.catalogue import DATASETS, Entry, deal_in_order
from experiments.usage import UsageError, choose

SPLITS = ("train", "validation", "test")
ALIGNMENT = 64  # bytes
ARRAYS = ("inputs", "targets", "lower", "upper", "sum_lower", "sum_upper")


@dataclass(frozen=True)
class Dataset:
    """Windows of one dataset in scaled units; all arrays float32, (windows, T, features)."""

    name: str
    role: str  # one of catalogue.ROLES
    group: str  # of related datasets
    inputs: np.ndarray
    targets: np.ndarray
    lower: np.ndarray | None  # of the targets' shape; None where the dataset has no such side
    upper: np.ndarray | None
    split: np.ndarray  # (windows,), an index into SPLITS
    scale: float  # what one scaled unit is, in `unit`
    unit: str
    hash: str  # of the arrays above
    infeasible: float = 0.0  # share of targets outside their bounds
    sum_lower: np.ndarray | None = None  # of the features' sum, (windows, T, 1)
    sum_upper: np.ndarray | None = None

    def rows(self, split: str) -> np.ndarray | slice:
        """The windows of one split; a slice, which copies nothing, where they follow each other."""
        rows = np.flatnonzero(self.split == SPLITS.index(split))
        together = len(rows) and rows[-1] - rows[0] == len(rows) - 1
        return slice(rows[0], rows[-1] + 1) if together else rows

    def part(self, split: str) -> dict[str, np.ndarray | None]:
        """inputs, targets and bounds of one split."""
        rows = self.rows(split)
        arrays = {key: getattr(self, key) for key in ARRAYS}
        return {key: None if array is None else array[rows] for key, array in arrays.items()}

    def sides(self) -> tuple[str, ...]:
        """The bounds that there are, of "lower", "upper", "sum_lower" and "sum_upper"."""
        return tuple(side for side in ARRAYS[2:] if getattr(self, side) is not None)

    def target_range(self) -> dict[str, np.ndarray]:
        """Smallest ("lower") and largest ("upper") training target of each feature."""
        targets = self.targets[self.rows("train")]
        return {"lower": targets.min((0, 1)), "upper": targets.max((0, 1))}


def load(name: str, allow_infeasible: bool = False) -> Dataset:
    """The dataset of that name, or of that path where it ends in `.npz`.

    Args:
      name: a name of DATASETS, or a path; a dataset is named as its file, without the folder.
      allow_infeasible: whether targets may break their bounds.

    Raises:
      UsageError: for an unknown name, or arrays that cannot be used: says which and where.
    """
    if name.endswith(".npz"):
        path = Path(name)
        entry = Entry(lambda: _read_user_file(path), name, "given units", group=path.name)
    else:
        entry = choose("dataset", name, DATASETS)
    arrays = entry.load()
    _check(name, arrays)
    broken = _infeasible(arrays)
    if not allow_infeasible and entry.role != "wrong_bound":
        _refuse(name, arrays, broken)
    share = float(np.any(np.broadcast_arrays(*broken.values()), axis=0).mean())
    return _scaled(Path(name).name, entry, arrays, share)


def _check(name: str, arrays: dict[str, np.ndarray]) -> None:
    """Refuse what cannot be trained on."""
    inputs, targets = arrays["inputs"], arrays["targets"]
    for key, array in arrays.items():
        if key == "split":
            continue
        if array.ndim != 3 or array.dtype.kind not in "fiu" or 0 in array.shape:
            raise UsageError(
                f"{name}: {key} must be numbers of shape (windows, T, features), "
                f"got {array.dtype} of shape {array.shape}."
            )
        expected = inputs.shape[:2] if key == "targets" else targets.shape
        if key.startswith("sum_"):
            expected = (*targets.shape[:2], 1)
        if key != "inputs" and array.shape[: len(expected)] != expected:
            raise UsageError(f"{name}: {key} must have shape {expected}, got {array.shape}.")
        bad = ~np.isfinite(array) if key in ("inputs", "targets") else np.isnan(array)
        if bad.any():
            window, step, feature = np.argwhere(bad)[0]
            raise UsageError(
                f"{name}: {key} is {array[window, step, feature]} at window {window}, step {step}, "
                f"feature {feature} ({bad.sum()} such entries). Drop or fill such windows."
            )
    split = arrays["split"]
    if split.shape != inputs.shape[:1] or not np.isin(split, range(3)).all():
        raise UsageError(
            f"{name}: split must be {len(inputs)} of 0 (train), 1 (validation), 2 (test), "
            f"got shape {split.shape} and values {np.unique(split)[:5]}."
        )
    empty = [part for index, part in enumerate(SPLITS) if not (split == index).any()]
    if empty:
        raise UsageError(
            f"{name}: {len(inputs)} windows leave no window for {' and '.join(empty)}; "
            "every split needs one at least."
        )


def _infeasible(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which targets, or sums of them, break which of their bounds."""
    targets = arrays["targets"]
    total = targets.sum(axis=-1, keepdims=True, dtype=np.float64)
    bounded = {"upper": (targets, np.greater), "lower": (targets, np.less)}
    bounded |= {"sum_upper": (total, np.greater), "sum_lower": (total, np.less)}
    return {
        key: beyond(value, arrays[key]) for key, (value, beyond) in bounded.items() if key in arrays
    }


def _refuse(name: str, arrays: dict[str, np.ndarray], broken: dict[str, np.ndarray]) -> None:
    for key, where in broken.items():
        if not where.any():
            continue
        window, step, feature = first = tuple(np.argwhere(where)[0])
        summed = key.startswith("sum_")
        what, at = ("sums of targets", "") if summed else ("targets", f", feature {feature}")
        value = arrays["targets"][first[:2] if summed else first].sum()
        raise UsageError(
            f"{name}: {where.sum()} {what} break their {key} bound, first at window {window}, "
            f"step {step}{at}: {'sum' if summed else 'target'} {value}, {key} "
            f"{arrays[key][first]}. Mend them, or keep them with --allow-infeasible."
        )


def _scaled(name: str, entry: Entry, arrays: dict[str, np.ndarray], infeasible: float) -> Dataset:
    training = arrays["targets"][arrays["split"] == 0]
    scale = float(np.sqrt(np.mean(np.square(training, dtype=np.float64))))
    if not 0 < scale < np.inf:
        raise UsageError(
            f"{name}: the training targets' root mean square is {scale}; it must be positive and "
            "finite to scale by."
        )
    with np.errstate(over="ignore"):
        scaled = {key: _divided(arrays[key], scale) for key in ARRAYS if key in arrays}
    for key in ("inputs", "targets"):
        if not np.isfinite(scaled[key]).all():
            raise UsageError(
                f"{name}: some {key} are beyond float32 once divided by the training targets' root "
                f"mean square, {scale:g}. Mend or rescale them."
            )
    split = arrays["split"].astype(np.uint8)
    return Dataset(
        name=name,
        role=entry.role,
        group=entry.group,
        **dict.fromkeys(ARRAYS) | scaled,
        split=split,
        scale=scale,
        unit=entry.unit,
        hash=content_hash(scaled | {"split": split}),
        infeasible=infeasible,
    )


def _divided(array: np.ndarray, scale: float) -> np.ndarray:
    """As float32, divided in float64 piece by piece."""
    out = aligned(np.empty(array.shape, np.float32))
    return np.divide(array, scale, out=out, dtype=np.float64, casting="same_kind")


def aligned(array: np.ndarray) -> np.ndarray:
    """The array where XLA on CPU uses it as it lies; a copy if it lies elsewhere."""
    if array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous:
        return array
    buffer = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    out = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def content_hash(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of names, dtypes, shapes and values: the same on any machine and zlib."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little_endian.dtype.str} {array.shape}\n".encode())
        digest.update(little_endian.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def _read_user_file(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it has members that are no arrays")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file.") from None
    except Exception as error:  # whatever zipfile, zlib and numpy make of a damaged file
        raise UsageError(f"{path}: not a readable .npz of plain arrays ({error}).") from error
    known = (*ARRAYS, "split")
    missing = [key for key in known[:2] if key not in arrays]
    if missing or not {"lower", "upper"} & arrays.keys():
        raise UsageError(
            f"{path}: needs inputs, targets, and upper and/or lower; got "
            f"{', '.join(arrays) or 'nothing'}."
        )
    arrays = {key: arrays[key] for key in known if key in arrays}
    if "split" not in arrays:
        arrays["split"] = deal_in_order(len(np.atleast_1d(arrays["inputs"])))
    return arrays
