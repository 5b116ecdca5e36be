"""A dataset of the user's own: an `.npz` of arrays, and what they are called."""

from pathlib import Path
from zipfile import is_zipfile

import numpy as np

from experiments.data.dealing import deal_in_order
from experiments.data.entries import Arrays, Entry
from experiments.usage import UsageError, choose

NUMBERS = (
    "inputs",
    "targets",
    "lower",
    "upper",
    "sum_lower",
    "sum_upper",
    "future",
    "lengths",
    "split",
)
TEXTS = ("unit", "group", "title")
NAMES = (*NUMBERS, *TEXTS, "columns", "times")
LONGEST_TEXT = 80


def read(path: Path) -> Entry:
    """The file as a row of the table of datasets.

    Raises:
      UsageError: if it cannot be read, or holds something that is not known.
    """
    return entry_of(str(path), path.stem, _arrays(path))


def entry_of(source: str, name: str, arrays: Arrays) -> Entry:
    """Arrays by their names in an `.npz`, as a row of the table of datasets.

    Args:
      source: what an error calls them.
      name: the dataset's.
      arrays: the arrays.

    Raises:
      UsageError: if one is not known, or one that is needed is not there.
    """
    for key in arrays:
        choose(f"array of {source}", key, dict.fromkeys(NAMES))
    if not {"inputs", "targets"} <= arrays.keys() or not {"lower", "upper"} & arrays.keys():
        raise UsageError(
            f"{source}: needs inputs, targets, and upper and/or lower; got "
            f"{', '.join(arrays) or 'nothing'}."
        )
    numbers = {key: np.asarray(arrays[key]) for key in NUMBERS if key in arrays}
    if "split" not in numbers:
        numbers["split"] = deal_in_order(len(np.atleast_1d(numbers["inputs"])))
    texts = {key: _text(source, key, arrays[key]) for key in TEXTS if key in arrays}
    columns, times = (arrays.get(key) for key in ("columns", "times"))
    return Entry(
        lambda: numbers,
        summary=texts.get("title", name),
        unit=texts.get("unit", ""),
        group=texts.get("group", name),
        title=texts.get("title", ""),
        columns=() if columns is None else _columns(source, columns, numbers["targets"]),
        times=None if times is None else _times(source, times, numbers["targets"]),
    )


def _arrays(path: Path) -> Arrays:
    try:
        if path.stat() and not is_zipfile(path):
            raise ValueError("it is no zip archive, as numpy.savez writes one")
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: _member(file, key) for key in file.files}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("it has members that are no arrays")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file.") from None
    except Exception as error:  # whatever zipfile, zlib and numpy make of a damaged file
        raise UsageError(f"{path}: not a readable .npz of plain arrays ({error}).") from error
    return arrays


def _member(file: Arrays, key: str) -> np.ndarray:
    try:
        return file[key]
    except ValueError as error:
        if "Object arrays" not in str(error):
            raise
        raise ValueError(
            f"{key} is of Python objects, as pandas has its texts: save numpy.asarray({key}, str), "
            "or float for numbers"
        ) from error


def _text(source: str, key: str, value: np.ndarray) -> str:
    found = np.asarray(value)
    text = str(found) if found.ndim == 0 and found.dtype.kind == "U" else ""
    if not text.isprintable() or not 0 < len(text) <= LONGEST_TEXT:
        raise UsageError(
            f"{source}: {key} must be a text of 1 to {LONGEST_TEXT} characters, got "
            f"{found.dtype} of shape {found.shape}."
        )
    return text


def _columns(source: str, columns: np.ndarray, targets: np.ndarray) -> tuple[str, ...]:
    found = np.asarray(columns)
    features = targets.shape[2:]
    if found.ndim != 1 or found.shape != features:
        raise UsageError(
            f"{source}: columns must name the features of targets, {features}, got shape "
            f"{found.shape}."
        )
    return tuple(_text(source, "each of columns", name) for name in found)


def _times(source: str, times: np.ndarray, targets: np.ndarray) -> np.ndarray:
    found = np.asarray(times)
    if found.shape != targets.shape[:2] or found.dtype.kind not in "UM":
        raise UsageError(
            f"{source}: times must be texts or datetime64 of shape {targets.shape[:2]}, the "
            f"targets' windows and steps, got {found.dtype} of shape {found.shape}."
        )
    return _shortest(found) if found.dtype.kind == "M" else found


def _shortest(times: np.ndarray) -> np.ndarray:
    """Times as texts: pandas has them in nanoseconds, most of whose digits say nothing."""
    texts = times.astype(str), np.datetime_as_string(times, unit="auto")
    return min(texts, key=lambda found: np.strings.str_len(found).max(initial=0))
