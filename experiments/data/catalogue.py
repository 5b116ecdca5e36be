"""The table of datasets: the arrays in `data/`, and synthetic ones, as windows with bounds.

In the units of their source; `datasets.load` scales them.
"""

from dataclasses import replace
from functools import partial

from experiments.data import dials, made, windows
from experiments.data.entries import Entry

ROLES = {
    "study": "the target lies below the bound",
    "autoencoder": "the target is the bound, which shows collapse",
    "wrong_bound": "the bound fails for some targets, which shows what relying on it costs",
    "coupled": "the targets' sum is known, which shows what holding a sum costs or gives",
    "few_events": "too few of the events that decide its error are in a split: it is not ranked",
    "dial": "made data, which shows what one thing does that is turned",
}
TURBINES = ("R80711", "R80721", "R80736", "R80790")


SUBMETERS = ("kitchen", "laundry", "heater and air conditioning")
_radiation = partial(Entry, group="irradiance", unit="W/m²")
_ROWS = {
    "household_hourly": Entry(
        lambda: windows.household(60),
        "three sub-meters below a house's mains, hourly (UCI)",
        "Wh per hour",
        group="household",
        columns=SUBMETERS,
    ),
    "household": Entry(
        lambda: windows.household(10),
        "three sub-meters below a house's mains, every ten minutes (UCI)",
        "Wh per 10 minutes",
        columns=SUBMETERS,
    ),
    "irradiance": _radiation(
        windows.diffuse, "diffuse below global horizontal irradiance, two sites (NREL TMY3)"
    ),
    "diffuse_greensboro": _radiation(
        lambda: windows.diffuse(0),
        "diffuse below global horizontal irradiance, Greensboro (NREL TMY3)",
    ),
    "diffuse_sand_point": _radiation(
        lambda: windows.diffuse(1),
        "diffuse below global horizontal irradiance, Sand Point (NREL TMY3)",
    ),
    "direct_greensboro": _radiation(
        lambda: windows.direct(0),
        "direct normal below extraterrestrial irradiance, Greensboro (NREL TMY3)",
    ),
    "direct_sand_point": _radiation(
        lambda: windows.direct(1),
        "direct normal below extraterrestrial irradiance, Sand Point (NREL TMY3)",
    ),
    "direct_ahead": _radiation(
        windows.direct_ahead,
        "a forecast: a day's direct normal irradiance of the two days before (NREL TMY3)",
    ),
    "dew_point": Entry(
        windows.dew_point, "dew point below air temperature, three airports (NOAA)", "°C"
    ),
    **{
        f"dew_point_{code.lower()}": Entry(
            partial(windows.dew_point, airport),
            f"dew point below air temperature, {code} (NOAA)",
            "°C",
            group="dew_point",
        )
        for airport, code in enumerate(("EWR", "JFK", "LGA"))
    },
    "daily_temperature": Entry(
        windows.daily_temperature,
        "a day's lowest temperature below its highest, Seattle (NOAA)",
        "°C",
    ),
    "wind": Entry(
        windows.wind, "wind speed below its gusts, eight gusty hours, three airports (NOAA)", "kn"
    ),
    "flights": Entry(
        lambda: windows.counts("flights", "scheduled", "late"),
        "late departures among those scheduled, three airports (BTS)",
        "departures per hour",
    ),
    "bikeshare": Entry(
        lambda: windows.counts("bikeshare", "riders", "casual"),
        "riders without a subscription among all of a bicycle hire, Washington (UCI)",
        "riders per hour",
    ),
    "parking": Entry(
        windows.parking, "cars below the places of a car park, Birmingham (UCI)", "cars"
    ),
    "wind_farm": Entry(
        windows.wind_farm,
        "what each of four turbines makes below what their plant makes, France (Engie)",
        "kWh per hour",
        columns=TURBINES,
    ),
    "cyclones": Entry(
        windows.cyclones,
        "width of hurricane-force winds below that of storm-force winds, Atlantic cyclones (NOAA)",
        "nautical miles",
    ),
    "baseball": Entry(
        windows.baseball,
        "doubles, triples and home runs below a player's hits, twelve seasons (Baseball Databank)",
        "hits per season",
        columns=("doubles", "triples", "home runs"),
    ),
    "crime": Entry(
        windows.crime,
        "murders and robberies among violent crimes, fifty states of the United States (FBI)",
        "per 100,000 people",
        columns=("murder", "robbery"),
    ),
    "gasoline": Entry(
        windows.gasoline,
        "gasoline among all oil products that are used, weekly, United States (EIA)",
        "thousand barrels per day",
    ),
    "employment": Entry(
        windows.employment,
        "employees in a part of a sector below those of the sector, United States (BLS)",
        "thousands",
        columns=("manufacturing", "retail trade", "local government"),
    ),
    "streamflow": Entry(
        windows.streamflow,
        "baseflow, by a filter, below a river's daily discharge (USGS)",
        "m³/s",
        role="few_events",
    ),
    "hourly_temperature": Entry(
        windows.hourly_temperature,
        "an hour's temperature between lowest and highest of its six hours, Beijing (UCI)",
        "°C",
    ),
    "exchange_rate": Entry(
        windows.exchange_rate,
        "a day's dollars for a euro between lowest and highest of its week (ECB)",
        "US dollars",
    ),
    "spectrum": Entry(
        made.spectrum, "a smooth baseline below its peaks and noise (synthetic)", "1"
    ),
    "irradiance_soiled": _radiation(
        windows.diffuse_soiled,
        "diffuse irradiance; the sensor of its bound reads low on some days (NREL TMY3)",
        role="wrong_bound",
    ),
    "parking_raw": Entry(
        lambda: windows.parking(repaired=False),
        "cars as counted, now and then more than the car park has places, Birmingham (UCI)",
        "cars",
        group="parking",
        role="wrong_bound",
    ),
    "closure_greensboro": _radiation(
        lambda: windows.closure(0),
        "diffuse and direct horizontal irradiance, whose sum is global (NREL TMY3)",
        columns=("diffuse", "direct"),
        role="coupled",
    ),
    "closure_wind_farm": Entry(
        lambda: windows.wind_farm(closed=True),
        "what each of four turbines makes, whose sum is known, France (Engie)",
        "kWh per hour",
        group="wind_farm",
        role="coupled",
        columns=TURBINES,
    ),
    "irradiance_autoencoder": _radiation(
        lambda: windows.diffuse(target="global"),
        "global irradiance as its own target and bound (NREL TMY3)",
        role="autoencoder",
    ),
    "sines": Entry(
        made.sines,
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
