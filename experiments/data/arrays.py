"""Arrays as they are trained on: where they lie, how they are scaled, what identifies them."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

ALIGNMENT = 64  # bytes
BLOCK = 4096  # windows that are scaled at once


def aligned(array: np.ndarray) -> np.ndarray:
    """The array where XLA on CPU uses it as it lies; a copy if it lies elsewhere."""
    if array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous:
        return array
    buffer = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT
    out = buffer[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


def scaled(array: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """`(array - shift) / scale` as float32, in float64 piece by piece; inf where it is beyond."""
    out = aligned(np.empty(array.shape, np.float32))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(array), BLOCK):
            rows = slice(start, start + BLOCK)
            out[rows] = (array[rows].astype(np.float64) - shift) / scale
    return out


def moments(array: np.ndarray, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, (F,); of a constant feature the deviation is 1.

    Args:
      array: (windows, T, F).
      counts: (windows, T), the steps that count, or None for all.
    """
    features = list(_features(array, counts))
    mean = np.array([values.mean(dtype=np.float64) for values in features])
    constant = np.array([values.min() == values.max() for values in features])
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = np.array([values.std(dtype=np.float64) for values in features])
    return mean, np.where(constant, 1.0, deviation)


def _features(array: np.ndarray, counts: np.ndarray | None) -> Iterator[np.ndarray]:
    for feature in range(array.shape[2]):
        values = array[..., feature]
        yield values if counts is None else values[counts]


def content_hash(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of names, dtypes, shapes and values: the same on any machine and zlib."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little_endian = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name} {little_endian.dtype.str} {array.shape}\n".encode())
        digest.update(little_endian.reshape(-1).view(np.uint8))
    return digest.hexdigest()
