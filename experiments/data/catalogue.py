"""The table of datasets: the arrays in `data/`, and synthetic ones, as windows with bounds.

In the units of their source; `datasets.load` scales them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data import dials
from experiments.data.dealing import deal, deal_in_order, deal_in_turns

FOLDER = Path(__file__).parent
ROLES = {
    "study": "the target lies below the bound",
    "autoencoder": "the target is the bound, which shows collapse",
    "wrong_bound": "the bound fails for some targets, which shows what relying on it costs",
    "coupled": "the targets' sum is known, which shows what holding a sum costs or gives",
    "dial": "made data, which shows what one thing does that is turned",
}
TURBINES = ("R80711", "R80721", "R80736", "R80790")
BASEFLOW_FILTER = 0.925  # the parameter that Nathan and McMahon (1990) recommend
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Entry:
    """A row of the table of datasets."""

    load: Callable[[], Arrays]  # inputs, targets, split, upper and/or lower, and what else there is
    summary: str
    unit: str
    group: str = ""  # of related datasets, which count once; in DATASETS by default the name
    role: str = "study"  # one of ROLES
    title: str = ""  # for readers, in place of its name
    columns: tuple[str, ...] = ()  # what the targets' features are called
    times: np.ndarray | None = None  # of the targets' steps, (windows, H): text or datetime64


def _read(name: str) -> Arrays:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def _below(
    upper: np.ndarray, targets: np.ndarray, split: np.ndarray, signed: bool = True, **given: Any
) -> Arrays:
    """Targets below a bound, which is the input too unless another is given; if not signed, the
    targets lie above 0 as well."""
    if not signed:
        given["lower"] = np.zeros_like(targets)
    bound = np.broadcast_to(upper, targets.shape)
    return {"inputs": upper, "targets": targets, "upper": bound, "split": split} | given


def _household(minutes: int) -> Arrays:
    data = _read("household")

    def summed(values: np.ndarray) -> np.ndarray:
        return values.reshape(len(values), 1440 // minutes, minutes // 10, -1).sum(axis=2)

    mains = summed(data["mains_watt_minutes"] / 60)
    submeters = summed(data["submeters_watt_hours"].astype(np.float64))
    return _below(mains, submeters, deal(data["day"]), signed=False, sum_upper=mains)


def _irradiance(site: int | None = None) -> Arrays:
    """Of one of the two sites, or of both."""
    data = _read("irradiance")
    return data if site is None else {key: np.split(data[key], 2)[site] for key in data}


def _diffuse(site: int | None = None, target: str = "diffuse") -> Arrays:
    data = _irradiance(site)
    return _below(data["global"], data[target], deal(data["day"]))


def _direct(site: int) -> Arrays:
    data = _irradiance(site)
    bound = data["extraterrestrial"]
    inputs = np.concatenate([bound, data["global"]], axis=-1)
    return _below(bound, data["direct"], deal(data["day"]), signed=False, inputs=inputs)


def _direct_ahead(days: int = 2, block: int = 14) -> Arrays:
    """A day's direct normal irradiance, of the days before; extraterrestrial, its bound, is known
    ahead. Days whose past lies in another block are left out: no target is in two splits."""
    data = _irradiance()
    past = np.concatenate([data["direct"], data["global"]], axis=-1)
    rows = np.flatnonzero(data["day"] % block >= days)
    inputs = np.concatenate([past[rows - before] for before in range(days, 0, -1)], axis=1)
    bound = data["extraterrestrial"][rows]
    split = deal(data["day"][rows], block)
    return _below(bound, data["direct"][rows], split, False, inputs=inputs, future=bound)


def _closure(site: int) -> Arrays:
    """Global irradiance in its two parts, diffuse and direct on the horizontal: the closure
    global = diffuse + direct · cos(zenith) gives the second, and is the bound of the sum."""
    data = _irradiance(site)
    whole, diffuse = (data[key].astype(float) for key in ("global", "diffuse"))
    targets = np.concatenate([diffuse, whole - diffuse], axis=-1)
    sums = {"sum_lower": whole, "sum_upper": whole}
    return _below(whole, targets, deal(data["day"]), signed=False, **sums)


def _diffuse_soiled(share: float = 1 / 6, loss: float = 0.2, seed: int = 0) -> Arrays:
    """On some days the sensor of global irradiance, input and bound, reads too low."""
    arrays = _diffuse()
    soiled = np.random.default_rng(seed).random((len(arrays["inputs"]), 1, 1)) < share
    inputs = arrays["inputs"] * np.where(soiled, 1 - loss, 1.0)
    return {**arrays, "inputs": inputs, "upper": inputs}


def _dew_point(airport: int | None = None) -> Arrays:
    data = _read("dew_point")
    rows = slice(None) if airport is None else data["airport"] == airport
    bound, target = ((data[key][rows] / 100 - 32) / 1.8 for key in ("temperature", "dew_point"))
    return _below(bound, target, deal(data["day"][rows]))


def _wind() -> Arrays:
    data = _read("wind")
    gusty_day = np.unique(data["day"], return_inverse=True)[1]
    return _below(data["gust"], data["speed"], deal(gusty_day, block=2), signed=False)


def _counts(name: str, whole: str, part: str) -> Arrays:
    """Some of what is counted in each hour, below all of it."""
    data = _read(name)
    return _below(data[whole], data[part], deal(data["day"]), signed=False)


def _parking(repaired: bool = True) -> Arrays:
    """Cars below a car park's places, known with how full the others of the town are. Repaired,
    a car park that counts more cars than it has places is full."""
    data = _read("parking")
    cars, day, places = data["cars"].astype(float), data["day"], data["places"]
    bound = np.broadcast_to(places[:, None, None], cars.shape).astype(float)
    if repaired:
        cars = np.minimum(cars, bound)
    same_day = day[:, None] == day
    np.fill_diagonal(same_day, False)
    others = np.tensordot(same_day.astype(float), np.stack([cars, bound]), axes=(1, 1))
    filled = others[:, 0] / others[:, 1]
    inputs = np.concatenate([bound, filled], axis=-1)
    return _below(bound, cars, deal(day, block=2), signed=False, inputs=inputs)


def _wind_farm(closed: bool = False) -> Arrays:
    """What each turbine makes, below what all make together; closed, their sum is told too."""
    data = _read("wind_farm")
    made = data["made"] / 10
    plant = made.sum(axis=-1, keepdims=True)
    inputs = np.concatenate([plant, data["wind_from"] / 100], axis=-1)
    sums = {"sum_lower": plant} if closed else {}
    given = {"inputs": inputs, "sum_upper": plant, **sums}
    return _below(plant, made, deal(data["day"], block=5), signed=False, **given)


def _cyclones() -> Arrays:
    data = _read("cyclones")
    bound, target, pressure = (
        data[key].astype(float) for key in ("storm_force", "hurricane_force", "pressure")
    )
    storm = np.unique(data["storm"], return_inverse=True)[1]
    inputs = np.concatenate([bound, pressure], axis=-1)
    return _below(bound, target, deal(storm, block=4), signed=False, inputs=inputs)


def _baseball() -> Arrays:
    data = _read("baseball")
    hits, kinds = data["hits"].astype(float), data["kinds"].astype(float)
    given = {"inputs": np.concatenate([hits, data["at_bats"]], axis=-1), "sum_upper": hits}
    split = deal(data["first"] - data["first"].min(), block=3)
    return _below(hits, kinds, split, signed=False, **given)


def _employment() -> Arrays:
    data = _read("employment")
    sector, part = (data[key] / 10 for key in ("sector", "part"))
    return _cut(sector, part, signed=False, steps=12, every=1, block=18)


def _crime() -> Arrays:
    """A state is a block: its years are in one split."""
    data = _read("crime")
    years = data["violent"].shape[1]
    violent, kinds = data["violent"].reshape(-1, 1) / 10, data["kinds"].reshape(-1, 2) / 10
    bound = np.broadcast_to(violent, kinds.shape)
    arrays = _cut(bound, kinds, signed=False, steps=12, every=3, block=years)
    one = arrays["inputs"][..., :1]
    return arrays | {"inputs": one, "sum_upper": one}


def _gasoline() -> Arrays:
    data = {key: values.astype(float)[:, None] for key, values in _read("gasoline").items()}
    cut = partial(_cut, signed=False, steps=12, every=2, block=22)
    arrays = cut(data["products"], data["gasoline"])
    made = cut(data["made"], data["gasoline"])["inputs"]
    return arrays | {"inputs": np.concatenate([arrays["inputs"], made], axis=-1)}


def _streamflow() -> Arrays:
    discharge = _read("streamflow")["discharge"] / 1000
    return _cut(discharge, baseflow(discharge), signed=False)


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
    return _cut(data["highest"] / 10, data["lowest"] / 10)


def _cut(
    bound: np.ndarray,
    target: np.ndarray,
    signed: bool = True,
    steps: int = 24,
    every: int = 4,
    block: int = 52,
) -> Arrays:
    """Windows of 24 steps, one every 4, of series, within blocks of 52 steps that are dealt as one:
    no step is in two splits."""
    whole = len(bound) // block * block
    blocks = np.stack([bound[:whole], target[:whole]]).reshape(2, -1, block, bound[0].size)
    starts = range(0, block - steps + 1, every)
    windows = np.stack([blocks[:, :, start : start + steps] for start in starts], axis=2)
    split = np.repeat(deal_in_turns(blocks.shape[1]), len(starts))
    return _below(*windows.reshape(2, -1, steps, bound[0].size), split, signed)


def _sines(windows: int = 800, steps: int = 24, seed: int = 0) -> Arrays:
    generator = np.random.default_rng(seed)
    time = np.arange(steps) / steps
    drawn = generator.uniform([[0.2], [0.5], [0]], [[1], [3], [1]], (2, windows, 3, 1))
    amplitude, frequency, phase = np.moveaxis(drawn, 2, 0)
    signal = np.sum(amplitude * np.sin(2 * np.pi * (frequency * time + phase)), axis=0)
    return _below(signal[..., None], signal[..., None], deal_in_order(windows))


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
    return _below(signal[..., None], baseline[..., None], deal_in_order(windows))


SUBMETERS = ("kitchen", "laundry", "heater and air conditioning")
_radiation = partial(Entry, group="irradiance", unit="W/m²")
_ROWS = {
    "household_hourly": Entry(
        lambda: _household(60),
        "three sub-meters below a house's mains, hourly (UCI)",
        "Wh per hour",
        group="household",
        columns=SUBMETERS,
    ),
    "household": Entry(
        lambda: _household(10),
        "three sub-meters below a house's mains, every ten minutes (UCI)",
        "Wh per 10 minutes",
        columns=SUBMETERS,
    ),
    "irradiance": _radiation(
        _diffuse, "diffuse below global horizontal irradiance, two sites (NREL TMY3)"
    ),
    "diffuse_greensboro": _radiation(
        lambda: _diffuse(0), "diffuse below global horizontal irradiance, Greensboro (NREL TMY3)"
    ),
    "diffuse_sand_point": _radiation(
        lambda: _diffuse(1), "diffuse below global horizontal irradiance, Sand Point (NREL TMY3)"
    ),
    "direct_greensboro": _radiation(
        lambda: _direct(0),
        "direct normal below extraterrestrial irradiance, Greensboro (NREL TMY3)",
    ),
    "direct_sand_point": _radiation(
        lambda: _direct(1),
        "direct normal below extraterrestrial irradiance, Sand Point (NREL TMY3)",
    ),
    "direct_ahead": _radiation(
        _direct_ahead,
        "a forecast: a day's direct normal irradiance of the two days before (NREL TMY3)",
    ),
    "dew_point": Entry(_dew_point, "dew point below air temperature, three airports (NOAA)", "°C"),
    **{
        f"dew_point_{code.lower()}": Entry(
            partial(_dew_point, airport),
            f"dew point below air temperature, {code} (NOAA)",
            "°C",
            group="dew_point",
        )
        for airport, code in enumerate(("EWR", "JFK", "LGA"))
    },
    "daily_temperature": Entry(
        _daily_temperature, "a day's lowest temperature below its highest, Seattle (NOAA)", "°C"
    ),
    "wind": Entry(
        _wind, "wind speed below its gusts, eight gusty hours, three airports (NOAA)", "kn"
    ),
    "flights": Entry(
        lambda: _counts("flights", "scheduled", "late"),
        "late departures among those scheduled, three airports (BTS)",
        "departures per hour",
    ),
    "bikeshare": Entry(
        lambda: _counts("bikeshare", "riders", "casual"),
        "riders without a subscription among all of a bicycle hire, Washington (UCI)",
        "riders per hour",
    ),
    "parking": Entry(_parking, "cars below the places of a car park, Birmingham (UCI)", "cars"),
    "wind_farm": Entry(
        _wind_farm,
        "what each of four turbines makes below what their plant makes, France (Engie)",
        "kWh per hour",
        columns=TURBINES,
    ),
    "cyclones": Entry(
        _cyclones,
        "width of hurricane-force winds below that of storm-force winds, Atlantic cyclones (NOAA)",
        "nautical miles",
    ),
    "baseball": Entry(
        _baseball,
        "doubles, triples and home runs below a player's hits, twelve seasons (Baseball Databank)",
        "hits per season",
        columns=("doubles", "triples", "home runs"),
    ),
    "crime": Entry(
        _crime,
        "murders and robberies among violent crimes, fifty states of the United States (FBI)",
        "per 100,000 people",
        columns=("murder", "robbery"),
    ),
    "gasoline": Entry(
        _gasoline,
        "gasoline among all oil products that are used, weekly, United States (EIA)",
        "thousand barrels per day",
    ),
    "employment": Entry(
        _employment,
        "employees in a part of a sector below those of the sector, United States (BLS)",
        "thousands",
        columns=("manufacturing", "retail trade", "local government"),
    ),
    "streamflow": Entry(
        _streamflow, "baseflow, by a filter, below a river's daily discharge (USGS)", "m³/s"
    ),
    "spectrum": Entry(_spectrum, "a smooth baseline below its peaks and noise (synthetic)", "1"),
    "irradiance_soiled": _radiation(
        _diffuse_soiled,
        "diffuse irradiance; the sensor of its bound reads low on some days (NREL TMY3)",
        role="wrong_bound",
    ),
    "parking_raw": Entry(
        lambda: _parking(repaired=False),
        "cars as counted, now and then more than the car park has places, Birmingham (UCI)",
        "cars",
        group="parking",
        role="wrong_bound",
    ),
    "closure_greensboro": _radiation(
        lambda: _closure(0),
        "diffuse and direct horizontal irradiance, whose sum is global (NREL TMY3)",
        columns=("diffuse", "direct"),
        role="coupled",
    ),
    "closure_wind_farm": Entry(
        lambda: _wind_farm(closed=True),
        "what each of four turbines makes, whose sum is known, France (Engie)",
        "kWh per hour",
        group="wind_farm",
        role="coupled",
        columns=TURBINES,
    ),
    "irradiance_autoencoder": _radiation(
        lambda: _diffuse(target="global"),
        "global irradiance as its own target and bound (NREL TMY3)",
        role="autoencoder",
    ),
    "sines": Entry(
        _sines,
        "sums of two sines as their own target and bound (synthetic)",
        "1",
        role="autoencoder",
    ),
    **{
        name: Entry(
            partial(dials.made, setting),
            f"demand below a known capacity: {dials.said(setting)} (synthetic)",
            "1",
            group="dials",
            role="dial",
        )
        for name, setting in dials.SETTINGS.items()
    },
}
DATASETS = {name: replace(entry, group=entry.group or name) for name, entry in _ROWS.items()}
