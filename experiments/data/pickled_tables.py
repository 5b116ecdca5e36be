"""Columns of a pandas table that somebody else pickled, read without pandas.

A pickle may call whatever it names. This reader knows the few names of which a plain table is made,
puts its own stand-ins for those of pandas, and refuses every other.
"""

import lzma
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class _Table:
    """Stands for a DataFrame: its state becomes its attributes."""

    _mgr: "_Blocks"


class _Blocks(NamedTuple):
    """Stands for a BlockManager."""

    blocks: tuple[tuple[np.ndarray, slice | np.ndarray], ...]  # (columns, rows), and which columns
    axes: tuple[dict[str, Any], ...]  # of columns, of rows


def _block(values: np.ndarray, columns: slice | np.ndarray, _: int) -> tuple:
    return values, columns


def _index(_: type, given: dict[str, Any]) -> dict[str, Any]:
    return given


def _array(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: Any) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


KNOWN = {
    "pandas.core.frame.DataFrame": _Table,
    "pandas.core.internals.managers.BlockManager": _Blocks,
    "pandas._libs.internals._unpickle_block": _block,
    "pandas.core.indexes.base._new_Index": _index,
    "pandas.core.indexes.base.Index": object,
    "pandas.core.indexes.range.RangeIndex": object,
    "numpy.dtype": np.dtype,
    "numpy.ndarray": np.ndarray,
    "numpy.core.multiarray._reconstruct": np.empty(0).__reduce__()[0],
    "numpy.core.numeric._frombuffer": _array,
    "builtins.slice": slice,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f"{module.replace('numpy._core', 'numpy.core')}.{name}"  # as numpy 2 calls it
        if full not in KNOWN:
            raise pickle.UnpicklingError(
                f"The pickle names {full}, which no plain table needs: it is not read."
            )
        return KNOWN[full]


def read_table(path: Path) -> dict[str, np.ndarray]:
    """The columns, by their names, of a table that is pickled and packed by xz."""
    with lzma.open(path) as file:
        blocks, (names, _) = _Reader(file).load()._mgr
    table = np.empty(len(names["data"]), object)
    for values, columns in blocks:
        table[columns] = list(values)
    return dict(zip(names["data"], table, strict=True))
