"""What `--save` keeps of the final cells: `predictions/<id>.npz` and `weights/<id>.npz`.

Predictions are of the test split, in the dataset's unit. Weights are the best on validation.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments.files import (
    StorageError,
    forget,
    make_folder,
    read_arrays,
    read_bytes,
    write_arrays,
)

KINDS = ("predictions", "weights")
Arrays = Mapping[str, np.ndarray]
SCALING = "scaling"  # of what a network reads and gives, beside its weights


def write(folder: Path, identity: str, saved: Mapping[str, Arrays]) -> None:
    """Write what a cell saves, by kind; what it saved before, of other kinds, is deleted."""
    for kind in KINDS:
        if kind in saved:
            make_folder(folder / kind)
            write_arrays(_path(folder, kind, identity), saved[kind])
        else:
            forget(folder / kind, [_path(folder, kind, identity).name], (".npz",))


def kinds(folder: Path, identities: Collection[str]) -> tuple[str, ...]:
    """What some of these cells have saved."""
    return tuple(
        kind for kind in KINDS if any(_path(folder, kind, one).exists() for one in identities)
    )


def missing(folder: Path, identity: str, kinds: tuple[str, ...]) -> bool:
    """Whether a cell has not saved one of these."""
    return not all(_path(folder, kind, identity).exists() for kind in kinds)


def predictions(folder: str | Path, identity: str) -> dict[str, np.ndarray]:
    """The outputs of a cell on the test split, beside what they are of.

    Args:
      folder: the sweep's, such as results/mine.
      identity: the record's `id`.

    Returns:
      `outputs`, `targets` (NaN where missing), and `lower`, `upper`, `sum_lower`, `sum_upper` where
      there are such bounds, (windows, H, K), in the dataset's unit; `window`, (windows,), which of
      the dataset's windows they are; and `times`, (windows, H), where it has them.

    Raises:
      StorageError: if that was not saved, or cannot be read.
    """
    return _read(folder, "predictions", identity)


def weights(folder: str | Path, identity: str) -> dict[str, Any]:
    """The parameters of a cell's network, by module, as `nnx.update(model, weights(…))` takes them.

    Of a network from a factory they are `model` and `bias`, of raw = model(inputs, bounds) + bias.

    Args:
      folder: the sweep's, such as results/mine.
      identity: the record's `id`.

    Raises:
      StorageError: if they were not saved, or cannot be read.
    """
    found = _read(folder, "weights", identity, _tree)
    found.pop(SCALING, None)
    return found


def _tree(arrays: Arrays) -> dict[Any, Any]:
    """Arrays by module, of their paths."""
    found: dict[Any, Any] = {}
    for path, array in arrays.items():
        *modules, name = (int(step) if step.isdecimal() else step for step in path.split("/"))
        place: Any = found
        for module in modules:
            place = place.setdefault(module, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict) or name in place:
            raise ValueError(f"{path} is within or around another array")
        place[name] = array
    return found


def scaling(folder: str | Path, identity: str) -> dict[str, np.ndarray]:
    """What the network of `weights` reads is `(inputs - inputs_mean) / inputs_deviation`, of each
    feature, and the same of `future`; its targets, bounds and outputs are divided by `scale`."""
    found = _read(folder, "weights", identity)
    prefix = f"{SCALING}/"
    return {key.removeprefix(prefix): found[key] for key in found if key.startswith(prefix)}


def _path(folder: str | Path, kind: str, identity: str) -> Path:
    return Path(folder) / kind / f"{identity}.npz"


def _read(
    folder: str | Path, kind: str, identity: str, of: Callable[[Arrays], dict] = dict
) -> dict[Any, Any]:
    path = _path(folder, kind, identity)
    try:
        return of(read_arrays(read_bytes(path)))
    except FileNotFoundError:
        raise StorageError(f"{path} is not there: run the sweep with --save {kind}.") from None
    except ValueError as error:
        raise StorageError(
            f"{path} does not hold {kind} ({error}). Delete it: --save {kind} runs its cell again."
        ) from error
