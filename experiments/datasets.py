"""Every dataset by name: windows with inputs, targets and bounds, scaled and dealt to splits.

Values are divided by one positive factor per dataset, the root mean square of the training
targets, and never shifted: order, sign and zero survive.
"""

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.choices import UsageError, choose
from experiments.data.build import content_hash

FOLDER = Path(__file__).parent / "data"
SPLITS = ("train", "validation", "test")
SPLIT_SEED = 0


@dataclass(frozen=True)
class Dataset:
    """Windows of one dataset in scaled units; all arrays float32, (windows, T, features)."""

    name: str
    role: str  # "study" (target below the bound) or "autoencoder" (target = bound)
    inputs: np.ndarray
    targets: np.ndarray
    lower: np.ndarray | None  # of the targets' shape; None where the dataset has no such side
    upper: np.ndarray | None
    split: np.ndarray  # (windows,), an index into SPLITS
    scale: float  # what one scaled unit is, in `unit`
    unit: str
    hash: str  # of the arrays above
    infeasible: float = 0.0  # share of targets outside their bounds

    def part(self, split: str) -> dict[str, np.ndarray | None]:
        """inputs, targets, lower and upper of one split."""
        rows = self.split == SPLITS.index(split)
        arrays = {key: getattr(self, key) for key in ("inputs", "targets", "lower", "upper")}
        return {key: None if array is None else array[rows] for key, array in arrays.items()}

    def sides(self) -> tuple[str, ...]:
        """The bounds that there are, of "lower" and "upper"."""
        return tuple(side for side in ("lower", "upper") if getattr(self, side) is not None)

    def target_range(self) -> dict[str, np.ndarray]:
        """Smallest ("lower") and largest ("upper") training target of each feature."""
        targets = self.part("train")["targets"]
        return {"lower": targets.min((0, 1)), "upper": targets.max((0, 1))}


@dataclass(frozen=True)
class Entry:
    """A row of the table of datasets."""

    load: Callable[[], dict[str, np.ndarray]]  # inputs, targets, split, and upper and/or lower
    role: str
    unit: str
    summary: str


def load(name: str, allow_infeasible: bool = False) -> Dataset:
    """The dataset of that name, or of that path where it ends in `.npz`.

    Args:
      name: a name of DATASETS, or a path; a dataset is named as its file, without the folder.
      allow_infeasible: whether targets may break their bounds.

    Raises:
      UsageError: for an unknown name, or arrays that cannot be used: says which and where.
    """
    if name.endswith(".npz"):
        entry = Entry(lambda: _read_user_file(Path(name)), "study", "given units", name)
    else:
        entry = choose("dataset", name, DATASETS)
    arrays = entry.load()
    _check(name, arrays)
    broken = _infeasible(arrays)
    if not allow_infeasible:
        _refuse(name, arrays, broken)
    share = float(np.any(list(broken.values()), axis=0).mean())
    return _scaled(Path(name).name, entry, arrays, share)


def deal(day: np.ndarray, block: int = 14) -> np.ndarray:
    """Split index of each window, by blocks of `block` days dealt 5:1:1 within every seven.

    Every seven blocks (about a season) give five to training and one each to validation and
    test, in an order drawn from a fixed seed: each split sees every season, and few neighbouring
    days are parted. Windows of the same day (at several sites) always go together.
    """
    generator = np.random.default_rng(SPLIT_SEED)
    blocks = int(day.max()) // block + 1
    rounds = [generator.permutation([0, 0, 0, 0, 0, 1, 2]) for _ in range(-(-blocks // 7))]
    return np.concatenate(rounds)[day // block].astype(np.uint8)


def _in_order(windows: int) -> np.ndarray:
    """Split index of each window: the first 70 % training, then 15 % validation, then test."""
    held_out = max(1, round(0.15 * windows))
    counts = [max(0, windows - 2 * held_out), held_out, held_out]
    return np.repeat(np.arange(3, dtype=np.uint8), counts)[:windows]


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
    """Which targets break which of their bounds."""
    targets = arrays["targets"]
    return {
        key: sign * targets > sign * arrays[key].astype(np.float64)
        for key, sign in (("upper", 1), ("lower", -1))
        if key in arrays
    }


def _refuse(name: str, arrays: dict[str, np.ndarray], broken: dict[str, np.ndarray]) -> None:
    for key, where in broken.items():
        if not where.any():
            continue
        window, step, feature = first = tuple(np.argwhere(where)[0])
        raise UsageError(
            f"{name}: {where.sum()} targets break their {key} bound, first at window {window}, "
            f"step {step}, feature {feature}: target {arrays['targets'][first]}, "
            f"{key} {arrays[key][first]}. Mend them, or keep them with --allow-infeasible."
        )


def _scaled(name: str, entry: Entry, arrays: dict[str, np.ndarray], infeasible: float) -> Dataset:
    training = arrays["targets"][arrays["split"] == 0].astype(np.float64)
    scale = float(np.sqrt(np.mean(training**2)))
    if not 0 < scale < np.inf:
        raise UsageError(
            f"{name}: the training targets' root mean square is {scale}; it must be positive and "
            "finite to scale by."
        )
    scaled = {
        key: (arrays[key].astype(np.float64) / scale).astype(np.float32) if key in arrays else None
        for key in ("inputs", "targets", "lower", "upper")
    }
    split = arrays["split"].astype(np.uint8)
    hashed = {key: array for key, array in scaled.items() if array is not None} | {"split": split}
    return Dataset(
        name=name,
        role=entry.role,
        **scaled,
        split=split,
        scale=scale,
        unit=entry.unit,
        hash=content_hash(hashed),
        infeasible=infeasible,
    )


def _read_user_file(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file.") from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        raise UsageError(f"{path}: not a readable .npz of plain arrays ({error}).") from error
    known = ("inputs", "targets", "lower", "upper", "split")
    missing = [key for key in known[:2] if key not in arrays]
    if missing or not {"lower", "upper"} & arrays.keys():
        raise UsageError(
            f"{path}: needs inputs, targets, and upper and/or lower; got "
            f"{', '.join(arrays) or 'nothing'}."
        )
    arrays = {key: arrays[key] for key in known if key in arrays}
    if "split" not in arrays:
        arrays["split"] = _in_order(len(np.atleast_1d(arrays["inputs"])))
    return arrays


def _read(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _household(steps_per_hour: int) -> dict[str, np.ndarray]:
    data = _read("household")
    mains = data["mains_watt_minutes"] / 60

    def summed(values: np.ndarray) -> np.ndarray:
        together = 6 // steps_per_hour
        return values.reshape(len(values), 144 // together, together, -1).sum(axis=2)

    inputs, targets = summed(mains), summed(data["submeters_watt_hours"].astype(np.float64))
    return {
        "inputs": inputs,
        "targets": targets,
        "lower": np.zeros_like(targets),
        "upper": np.broadcast_to(inputs, targets.shape),
        "split": deal(data["day"]),
    }


def _irradiance() -> dict[str, np.ndarray]:
    data = _read("irradiance")
    return _below_input(data["global"], data["diffuse"], deal(data["day"]))


def _irradiance_autoencoder() -> dict[str, np.ndarray]:
    data = _read("irradiance")
    return _below_input(data["global"], data["global"], deal(data["day"]))


def _dew_point() -> dict[str, np.ndarray]:
    data = _read("dew_point")
    temperature, dew_point = ((data[key] / 100 - 32) / 1.8 for key in ("temperature", "dew_point"))
    return _below_input(temperature, dew_point, deal(data["day"]))


def _sines(windows: int = 800, steps: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    time = np.arange(steps) / steps
    signal = np.zeros((windows, steps))
    for _ in range(2):
        amplitude, frequency, phase = generator.uniform(
            [[0.2], [0.5], [0]], [[1], [3], [1]], (windows, 3, 1)
        ).transpose(1, 0, 2)
        signal += amplitude * np.sin(2 * np.pi * (frequency * time + phase))
    return _below_input(signal[..., None], signal[..., None], _in_order(windows))


def _spectrum(windows: int = 800, channels: int = 24, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    position = np.linspace(-1, 1, channels)

    def draw(low: float, high: float) -> np.ndarray:
        return generator.uniform(low, high, (windows, 1))

    baseline = draw(0.5, 1.5) + draw(-0.5, 0.5) * position + draw(-0.5, 0.5) * position**2
    signal = baseline + np.abs(generator.normal(0, 0.05, baseline.shape))
    for _ in range(3):
        height, center, width = draw(0, 1.5), draw(-1, 1), draw(0.05, 0.2)
        signal += height * np.exp(-(((position - center) / width) ** 2) / 2)
    return _below_input(signal[..., None], baseline[..., None], _in_order(windows))


def _below_input(
    inputs: np.ndarray, targets: np.ndarray, split: np.ndarray
) -> dict[str, np.ndarray]:
    return {"inputs": inputs, "targets": targets, "upper": inputs, "split": split}


DATASETS = {
    "household_hourly": Entry(
        lambda: _household(1),
        role="study",
        unit="Wh per hour",
        summary="three sub-meters below a house's mains, hourly (UCI)",
    ),
    "household": Entry(
        lambda: _household(6),
        role="study",
        unit="Wh per 10 minutes",
        summary="three sub-meters below a house's mains, every ten minutes (UCI)",
    ),
    "irradiance": Entry(
        _irradiance,
        role="study",
        unit="W/m²",
        summary="diffuse below global horizontal irradiance, two sites (NREL TMY3)",
    ),
    "irradiance_autoencoder": Entry(
        _irradiance_autoencoder,
        role="autoencoder",
        unit="W/m²",
        summary="global irradiance as its own target and bound (NREL TMY3)",
    ),
    "dew_point": Entry(
        _dew_point,
        role="study",
        unit="°C",
        summary="dew point below air temperature, three airports (NOAA)",
    ),
    "sines": Entry(
        _sines,
        role="autoencoder",
        unit="1",
        summary="sums of two sines as their own target and bound (synthetic)",
    ),
    "spectrum": Entry(
        _spectrum,
        role="study",
        unit="1",
        summary="a smooth baseline below its peaks and noise (synthetic)",
    ),
}
