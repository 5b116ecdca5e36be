"""The arrays in this folder as windows of inputs, targets and bounds, dealt to splits.

In the units of their source; `datasets.load` scales them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.dealing import deal, deal_in_turns
from experiments.data.entries import Arrays

FOLDER = Path(__file__).parent
BASEFLOW_FILTER = 0.925  # the parameter that Nathan and McMahon (1990) recommend


def read(name: str) -> Arrays:
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def below(
    upper: np.ndarray, targets: np.ndarray, split: np.ndarray, signed: bool = True, **given: Any
) -> Arrays:
    """Targets below a bound, which is the input too unless another is given; if not signed, the
    targets lie above 0 as well."""
    if not signed:
        given["lower"] = np.zeros_like(targets)
    bound = np.broadcast_to(upper, targets.shape)
    return {"inputs": upper, "targets": targets, "upper": bound, "split": split} | given


def household(minutes: int) -> Arrays:
    data = read("household")

    def summed(values: np.ndarray) -> np.ndarray:
        return values.reshape(len(values), 1440 // minutes, minutes // 10, -1).sum(axis=2)

    mains = summed(data["mains_watt_minutes"] / 60)
    submeters = summed(data["submeters_watt_hours"].astype(np.float64))
    return below(mains, submeters, deal(data["day"]), signed=False, sum_upper=mains)


def irradiance(site: int | None = None) -> Arrays:
    """Of one of the two sites, or of both."""
    data = read("irradiance")
    return data if site is None else {key: np.split(data[key], 2)[site] for key in data}


def diffuse(site: int | None = None, target: str = "diffuse") -> Arrays:
    data = irradiance(site)
    return below(data["global"], data[target], deal(data["day"]))


def direct(site: int) -> Arrays:
    data = irradiance(site)
    bound = data["extraterrestrial"]
    inputs = np.concatenate([bound, data["global"]], axis=-1)
    return below(bound, data["direct"], deal(data["day"]), signed=False, inputs=inputs)


def direct_ahead(days: int = 2, block: int = 14) -> Arrays:
    """A day's direct normal irradiance, of the days before; extraterrestrial, its bound, is known
    ahead. Days whose past lies in another block are left out: no target is in two splits."""
    data = irradiance()
    past = np.concatenate([data["direct"], data["global"]], axis=-1)
    rows = np.flatnonzero(data["day"] % block >= days)
    inputs = np.concatenate([past[rows - before] for before in range(days, 0, -1)], axis=1)
    bound = data["extraterrestrial"][rows]
    split = deal(data["day"][rows], block)
    return below(bound, data["direct"][rows], split, False, inputs=inputs, future=bound)


def closure(site: int) -> Arrays:
    """Global irradiance in its two parts, diffuse and direct on the horizontal: the closure
    global = diffuse + direct · cos(zenith) gives the second, and is the bound of the sum."""
    data = irradiance(site)
    whole, diffuse = (data[key].astype(float) for key in ("global", "diffuse"))
    targets = np.concatenate([diffuse, whole - diffuse], axis=-1)
    sums = {"sum_lower": whole, "sum_upper": whole}
    return below(whole, targets, deal(data["day"]), signed=False, **sums)


def diffuse_soiled(share: float = 1 / 6, loss: float = 0.2, seed: int = 0) -> Arrays:
    """On some days the sensor of global irradiance, input and bound, reads too low."""
    arrays = diffuse()
    soiled = np.random.default_rng(seed).random((len(arrays["inputs"]), 1, 1)) < share
    inputs = arrays["inputs"] * np.where(soiled, 1 - loss, 1.0)
    return {**arrays, "inputs": inputs, "upper": inputs}


def dew_point(airport: int | None = None) -> Arrays:
    data = read("dew_point")
    rows = slice(None) if airport is None else data["airport"] == airport
    bound, target = ((data[key][rows] / 100 - 32) / 1.8 for key in ("temperature", "dew_point"))
    return below(bound, target, deal(data["day"][rows]))


def wind() -> Arrays:
    data = read("wind")
    gusty_day = np.unique(data["day"], return_inverse=True)[1]
    return below(data["gust"], data["speed"], deal(gusty_day, block=2), signed=False)


def counts(name: str, whole: str, part: str) -> Arrays:
    """Some of what is counted in each hour, below all of it."""
    data = read(name)
    return below(data[whole], data[part], deal(data["day"]), signed=False)


def parking(repaired: bool = True) -> Arrays:
    """Cars below a car park's places, known with how full the others of the town are. Repaired,
    a car park that counts more cars than it has places is full."""
    data = read("parking")
    cars, day, places = data["cars"].astype(float), data["day"], data["places"]
    bound = np.broadcast_to(places[:, None, None], cars.shape).astype(float)
    if repaired:
        cars = np.minimum(cars, bound)
    same_day = day[:, None] == day
    np.fill_diagonal(same_day, False)
    others = np.tensordot(same_day.astype(float), np.stack([cars, bound]), axes=(1, 1))
    filled = others[:, 0] / others[:, 1]
    inputs = np.concatenate([bound, filled], axis=-1)
    return below(bound, cars, deal(day, block=2), signed=False, inputs=inputs)


def wind_farm(closed: bool = False) -> Arrays:
    """What each turbine makes, below what all make together; closed, their sum is told too."""
    data = read("wind_farm")
    made = data["made"] / 10
    plant = made.sum(axis=-1, keepdims=True)
    inputs = np.concatenate([plant, data["wind_from"] / 100], axis=-1)
    sums = {"sum_lower": plant} if closed else {}
    given = {"inputs": inputs, "sum_upper": plant, **sums}
    return below(plant, made, deal(data["day"], block=5), signed=False, **given)


def cyclones() -> Arrays:
    data = read("cyclones")
    bound, target, pressure = (
        data[key].astype(float) for key in ("storm_force", "hurricane_force", "pressure")
    )
    storm = np.unique(data["storm"], return_inverse=True)[1]
    inputs = np.concatenate([bound, pressure], axis=-1)
    return below(bound, target, deal(storm, block=4), signed=False, inputs=inputs)


def baseball() -> Arrays:
    data = read("baseball")
    hits, kinds = data["hits"].astype(float), data["kinds"].astype(float)
    given = {"inputs": np.concatenate([hits, data["at_bats"]], axis=-1), "sum_upper": hits}
    split = deal(data["first"] - data["first"].min(), block=3)
    return below(hits, kinds, split, signed=False, **given)


def employment() -> Arrays:
    data = read("employment")
    both = np.concatenate([data["sector"], data["part"]], axis=-1) / 10
    found, split = cut(both, steps=12, every=1, block=18)
    return below(*np.split(found, 2, axis=-1), split, signed=False)


def crime() -> Arrays:
    """A state is a block: its years are in one split."""
    data = read("crime")
    rates = np.concatenate([data["violent"], data["kinds"]], axis=-1) / 10
    found, split = cut(rates.reshape(-1, 3), steps=12, every=3, block=rates.shape[1])
    violent, kinds = np.split(found, [1], axis=-1)
    return below(violent, kinds, split, signed=False, sum_upper=violent)


def gasoline() -> Arrays:
    data = read("gasoline")
    series = [data[key].astype(float) for key in ("products", "made", "gasoline")]
    found, split = cut(np.stack(series, axis=-1), steps=12, every=2, block=22)
    inputs, target = np.split(found, [2], axis=-1)
    return below(inputs[..., :1], target, split, signed=False, inputs=inputs)


def streamflow() -> Arrays:
    discharge = read("streamflow")["discharge"] / 1000
    found, split = cut(np.stack([discharge, baseflow(discharge)], axis=-1))
    return below(found[..., :1], found[..., 1:], split, signed=False)


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


def daily_temperature() -> Arrays:
    data = read("daily_temperature")
    found, split = cut(np.stack([data["highest"], data["lowest"]], axis=-1) / 10)
    return below(found[..., :1], found[..., 1:], split)


def hourly_temperature(hours: int = 6) -> Arrays:
    """An hour's temperature between the lowest and the highest of its six hours."""
    data = read("hourly_temperature")
    target, dew_point = (data[key].astype(float) for key in ("temperature", "dew_point"))
    lower, upper = _lowest_and_highest(target, hours)
    inputs = np.concatenate([lower, upper, dew_point], axis=-1)
    return below(upper, target, deal(data["day"]), inputs=inputs, lower=lower)


def exchange_rate(days: int = 5) -> Arrays:
    """A day's rate of the dollar between the lowest and the highest of its week; of the other
    currencies it is known how far, in %, they are from the middle of theirs."""
    rates = read("exchange_rate")["rates"] / 1e5
    lower, upper = _lowest_and_highest(rates, days)
    middle = (lower + upper) / 2
    others = 100 * (rates / middle - 1)[..., 1:]
    series = np.concatenate([lower[..., :1], upper[..., :1], others, rates[..., :1]], axis=-1)
    found, split = cut(series.reshape(-1, series.shape[-1]), steps=20, every=10, block=40)
    inputs, target = np.split(found, [-1], axis=-1)
    return below(inputs[..., 1:2], target, split, inputs=inputs, lower=inputs[..., :1])


def _lowest_and_highest(values: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Of every `steps` steps on end, at each of them; values are (windows, T, F)."""
    windows, _, features = values.shape
    spans = values.reshape(windows, -1, steps, features)
    lowest, highest = (
        np.broadcast_to(of(axis=2, keepdims=True), spans.shape) for of in (spans.min, spans.max)
    )
    return lowest.reshape(values.shape), highest.reshape(values.shape)


def cut(
    series: np.ndarray, steps: int = 24, every: int = 4, block: int = 52
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of 24 steps, one every 4, of series (steps, F), within blocks of 52 steps that are
    dealt as one, so that no step is in two splits; and their splits."""
    whole = len(series) // block * block
    blocks = series[:whole].reshape(-1, block, series.shape[1])
    starts = range(0, block - steps + 1, every)
    found = np.stack([blocks[:, start : start + steps] for start in starts], axis=1)
    split = np.repeat(deal_in_turns(len(blocks)), len(starts))
    return found.reshape(-1, steps, series.shape[1]), split
