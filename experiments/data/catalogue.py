"""The table of datasets: the arrays in `data/`, and synthetic ones, as windows with bounds.

In the units of their source; `datasets.load` scales them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
ROLES = {
    "study": "the target lies below the bound",
    "autoencoder": "the target is the bound, which shows collapse",
    "wrong_bound": "the bound fails for some targets, which shows what relying on it costs",
    "coupled": "the targets' sum is known, which shows what holding a sum costs or gives",
}
SPLIT_SEED = 0
BASEFLOW_FILTER = 0.925  # the parameter that Nathan and McMahon (1990) recommend
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Entry:
    """A row of the table of datasets."""

    load: Callable[[], Arrays]  # inputs, targets, split, upper and/or lower, maybe bounds of sums
    role: str  # one of ROLES
    group: str  # of related datasets, which count once
    unit: str
    summary: str


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


def deal_in_turns(blocks: int) -> np.ndarray:
    """Split index of each block of 52 days: of the seven of a year five to training and one each to
    validation and test, which are two blocks further on every year.

    With few blocks, drawing them as `deal` does may give a split one season alone.
    """
    year, place = np.divmod(np.arange(blocks), 7)
    test, validation = 2 * year % 7, (2 * year + 3) % 7
    return np.where(place == test, 2, place == validation).astype(np.uint8)


def deal_in_order(windows: int) -> np.ndarray:
    """Split index of each window: the first 70 % training, then 15 % validation, then test."""
    held_out = max(1, round(0.15 * windows))
    counts = [max(0, windows - 2 * held_out), held_out, held_out]
    return np.repeat(np.arange(3, dtype=np.uint8), counts)[:windows]


def _read(name: str) -> Arrays:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _household(steps_per_hour: int) -> Arrays:
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
        "sum_upper": inputs,
        "split": deal(data["day"]),
    }


def _irradiance(target: str = "diffuse") -> Arrays:
    """Below global irradiance, at both sites."""
    data = _read("irradiance")
    return _below_input(data["global"], data[target], deal(data["day"]))


def _at_site(arrays: Arrays, site: int) -> Arrays:
    """The windows of one of the two sites of irradiance."""
    return {key: np.split(array, 2)[site] for key, array in arrays.items()}


def _direct(site: int) -> Arrays:
    data = _at_site(_read("irradiance"), site)
    bound = data["extraterrestrial"]
    return {
        "inputs": np.concatenate([bound, data["global"]], axis=-1),
        "targets": data["direct"],
        "lower": np.zeros_like(bound),
        "upper": bound,
        "split": deal(data["day"]),
    }


def _closure(site: int) -> Arrays:
    """Global irradiance in its two parts, diffuse and direct on the horizontal: the closure
    global = diffuse + direct · cos(zenith) gives the second, and is the bound of the sum."""
    data = {key: a.astype(float) for key, a in _at_site(_read("irradiance"), site).items()}
    whole, diffuse = data["global"], data["diffuse"]
    targets = np.concatenate([diffuse, whole - diffuse], axis=-1)
    return {
        "inputs": whole,
        "targets": targets,
        "lower": np.zeros_like(targets),
        "upper": np.broadcast_to(whole, targets.shape),
        "sum_lower": whole,
        "sum_upper": whole,
        "split": deal(data["day"].astype(int)),
    }


def _irradiance_soiled(share: float = 1 / 6, loss: float = 0.2, seed: int = 0) -> Arrays:
    """On some days the sensor of global irradiance, input and bound, reads too low."""
    arrays = _irradiance()
    soiled = np.random.default_rng(seed).random((len(arrays["inputs"]), 1, 1)) < share
    inputs = arrays["inputs"] * np.where(soiled, 1 - loss, 1.0)
    return {**arrays, "inputs": inputs, "upper": inputs}


def _dew_point(airport: int | None = None) -> Arrays:
    data = _read("dew_point")
    rows = slice(None) if airport is None else data["airport"] == airport
    temperature, dew_point = (
        (data[key][rows] / 100 - 32) / 1.8 for key in ("temperature", "dew_point")
    )
    return _below_input(temperature, dew_point, deal(data["day"][rows]))


def _wind() -> Arrays:
    data = _read("wind")
    gusty_day = np.unique(data["day"], return_inverse=True)[1]
    arrays = _below_input(data["gust"], data["speed"], deal(gusty_day, block=2))
    return {**arrays, "lower": np.zeros_like(data["speed"])}


def _flights() -> Arrays:
    data = _read("flights")
    arrays = _below_input(data["scheduled"], data["late"], deal(data["day"]))
    return {**arrays, "lower": np.zeros_like(data["late"])}


def _bikeshare() -> Arrays:
    data = _read("bikeshare")
    arrays = _below_input(data["riders"], data["casual"], deal(data["day"]))
    return {**arrays, "lower": np.zeros_like(data["casual"])}


def _streamflow() -> Arrays:
    discharge = _read("streamflow")["discharge"] / 1000
    arrays = _cut(np.stack([discharge, baseflow(discharge)], axis=-1))
    return {**arrays, "lower": np.zeros_like(arrays["targets"])}


def baseflow(flow: np.ndarray) -> np.ndarray:
    """Slow part of a river's flow, 0 <= baseflow <= flow, by the filter of Lyne and Hollick (1979).

    Three passes, forward, backward and forward, each over what the one before left.
    """
    for _ in range(3):
        quick, base = 0.0, flow.copy()
        for step in range(1, len(flow)):
            rise = flow[step] - flow[step - 1]
            quick = BASEFLOW_FILTER * quick + (1 + BASEFLOW_FILTER) / 2 * rise
            base[step] = np.clip(flow[step] - quick, 0, flow[step])
        flow = base[::-1]
    return flow[::-1]


def _daily_temperature() -> Arrays:
    data = _read("daily_temperature")
    return _cut(np.stack([data["highest"], data["lowest"]], axis=-1) / 10)


def _cut(series: np.ndarray, steps: int = 24, stride: int = 4) -> Arrays:
    """Overlapping windows of a daily series of (bound, target), within blocks of 52 days that are
    dealt as one: no day is in two splits."""
    blocks = series[: len(series) // 52 * 52].reshape(-1, 52, 2)
    starts = range(0, 52 - steps + 1, stride)
    windows = np.stack([blocks[:, start : start + steps] for start in starts], axis=1)
    inputs, targets = np.split(windows.reshape(-1, steps, 2), 2, axis=-1)
    split = np.repeat(deal_in_turns(len(blocks)), len(starts))
    return _below_input(inputs, targets, split)


def _sines(windows: int = 800, steps: int = 24, seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    time = np.arange(steps) / steps
    signal = np.zeros((windows, steps))
    for _ in range(2):
        amplitude, frequency, phase = generator.uniform(
            [[0.2], [0.5], [0]], [[1], [3], [1]], (windows, 3, 1)
        ).transpose(1, 0, 2)
        signal += amplitude * np.sin(2 * np.pi * (frequency * time + phase))
    return _below_input(signal[..., None], signal[..., None], deal_in_order(windows))


def _spectrum(windows: int = 800, channels: int = 24, seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    position = np.linspace(-1, 1, channels)

    def draw(low: float, high: float) -> np.ndarray:
        return generator.uniform(low, high, (windows, 1))

    baseline = draw(0.5, 1.5) + draw(-0.5, 0.5) * position + draw(-0.5, 0.5) * position**2
    signal = baseline + np.abs(generator.normal(0, 0.05, baseline.shape))
    for _ in range(3):
        height, center, width = draw(0, 1.5), draw(-1, 1), draw(0.05, 0.2)
        signal += height * np.exp(-(((position - center) / width) ** 2) / 2)
    return _below_input(signal[..., None], baseline[..., None], deal_in_order(windows))


def _below_input(inputs: np.ndarray, targets: np.ndarray, split: np.ndarray) -> Arrays:
    return {"inputs": inputs, "targets": targets, "upper": inputs, "split": split}


DATASETS = {
    "household_hourly": Entry(
        lambda: _household(1),
        role="study",
        group="household",
        unit="Wh per hour",
        summary="three sub-meters below a house's mains, hourly (UCI)",
    ),
    "household": Entry(
        lambda: _household(6),
        role="study",
        group="household",
        unit="Wh per 10 minutes",
        summary="three sub-meters below a house's mains, every ten minutes (UCI)",
    ),
    "irradiance": Entry(
        _irradiance,
        role="study",
        group="irradiance",
        unit="W/m²",
        summary="diffuse below global horizontal irradiance, two sites (NREL TMY3)",
    ),
    "diffuse_greensboro": Entry(
        lambda: _at_site(_irradiance(), 0),
        role="study",
        group="irradiance",
        unit="W/m²",
        summary="diffuse below global horizontal irradiance, Greensboro (NREL TMY3)",
    ),
    "diffuse_sand_point": Entry(
        lambda: _at_site(_irradiance(), 1),
        role="study",
        group="irradiance",
        unit="W/m²",
        summary="diffuse below global horizontal irradiance, Sand Point (NREL TMY3)",
    ),
    "direct_greensboro": Entry(
        lambda: _direct(0),
        role="study",
        group="irradiance",
        unit="W/m²",
        summary="direct normal below extraterrestrial irradiance, Greensboro (NREL TMY3)",
    ),
    "direct_sand_point": Entry(
        lambda: _direct(1),
        role="study",
        group="irradiance",
        unit="W/m²",
        summary="direct normal below extraterrestrial irradiance, Sand Point (NREL TMY3)",
    ),
    "dew_point": Entry(
        _dew_point,
        role="study",
        group="dew_point",
        unit="°C",
        summary="dew point below air temperature, three airports (NOAA)",
    ),
    **{
        f"dew_point_{code}": Entry(
            partial(_dew_point, airport),
            role="study",
            group="dew_point",
            unit="°C",
            summary=f"dew point below air temperature, {code.upper()} (NOAA)",
        )
        for airport, code in enumerate(("ewr", "jfk", "lga"))
    },
    "daily_temperature": Entry(
        _daily_temperature,
        role="study",
        group="daily_temperature",
        unit="°C",
        summary="a day's lowest temperature below its highest, Seattle (NOAA)",
    ),
    "wind": Entry(
        _wind,
        role="study",
        group="wind",
        unit="kn",
        summary="wind speed below its gusts, eight gusty hours, three airports (NOAA)",
    ),
    "flights": Entry(
        _flights,
        role="study",
        group="flights",
        unit="departures per hour",
        summary="late departures among those scheduled, three airports (BTS)",
    ),
    "bikeshare": Entry(
        _bikeshare,
        role="study",
        group="bikeshare",
        unit="riders per hour",
        summary="riders without a subscription among all of a bicycle hire, Washington (UCI)",
    ),
    "streamflow": Entry(
        _streamflow,
        role="study",
        group="streamflow",
        unit="m³/s",
        summary="baseflow, by a filter, below a river's daily discharge (USGS)",
    ),
    "spectrum": Entry(
        _spectrum,
        role="study",
        group="spectrum",
        unit="1",
        summary="a smooth baseline below its peaks and noise (synthetic)",
    ),
    "irradiance_soiled": Entry(
        _irradiance_soiled,
        role="wrong_bound",
        group="irradiance",
        unit="W/m²",
        summary="diffuse irradiance; the sensor of its bound reads low on some days (NREL TMY3)",
    ),
    "closure_greensboro": Entry(
        lambda: _closure(0),
        role="coupled",
        group="irradiance",
        unit="W/m²",
        summary="diffuse and direct horizontal irradiance, whose sum is global (NREL TMY3)",
    ),
    "irradiance_autoencoder": Entry(
        lambda: _irradiance("global"),
        role="autoencoder",
        group="irradiance",
        unit="W/m²",
        summary="global irradiance as its own target and bound (NREL TMY3)",
    ),
    "sines": Entry(
        _sines,
        role="autoencoder",
        group="sines",
        unit="1",
        summary="sums of two sines as their own target and bound (synthetic)",
    ),
}
