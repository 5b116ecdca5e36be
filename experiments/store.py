"""Records on disk: `cells/<id>.json` and `.npz`, `manifest.json`, `summary.csv`.

A file is written beside its place, flushed, and renamed over it: it is there whole or not at
all. A record's arrays are written before the record, and the record holds their checksum and its
own, so that whatever happened to a file later is found.
"""

import csv
import hashlib
import io
import json
import os
import platform
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from experiments.choices import UsageError

Cell = dict[str, Any]  # one training run, as plain JSON
Record = dict[str, Any]  # a cell and what came of it
FIELDS = {"id", "status", "config", "metrics", "timing", "error"}
STATUSES = ("done", "failed")
OPTIONAL = {"sources", "arrays_sha256", "sha256"}  # a record written by hand has none of them


class StorageError(Exception):
    """The sweep's folder could not be written to."""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def identity(config: Mapping[str, Any]) -> str:
    """SHA-256 of a cell's canonical JSON: the same on any machine."""
    return _sha256(canonical(config).encode())


def load(folder: str | Path, set_aside: bool = True) -> list[Record]:
    """Every record of a sweep, ordered by id; null metrics are None.

    A file that is no whole record (truncated, altered, under another's name, without its arrays)
    counts as missing, with a warning.

    Args:
      folder: the sweep's.
      set_aside: whether such a file is renamed to `<name>.damaged`.

    Raises:
      UsageError: if the folder holds no sweep.
    """
    cells = Path(folder) / "cells"
    if not cells.is_dir():
        raise UsageError(f"{folder} holds no sweep: there is no folder {cells}.")
    records = []
    for path in sorted(cells.glob("*.json")):
        try:
            records.append(_read(path))
        except (ValueError, RecursionError, OSError) as error:
            aside = f"set aside as {path.name}.damaged, " if set_aside else ""
            if set_aside:
                with suppress(OSError):
                    path.rename(path.with_name(path.name + ".damaged"))
            warnings.warn(
                f"{path} is not a whole record ({error}): {aside}its cell counts as missing.",
                stacklevel=2,
            )
    return records


def _read(path: Path) -> Record:
    record = json.loads(path.read_bytes())
    if not isinstance(record, dict) or not FIELDS <= record.keys() <= FIELDS | OPTIONAL:
        raise ValueError("its fields are not a record's")
    parts = record["config"], record["metrics"], record["timing"]
    if not all(isinstance(part, dict) for part in parts) or record["status"] not in STATUSES:
        raise ValueError("its fields do not hold what a record's do")
    expected = record.pop("sha256", None)
    if expected and expected != _sha256(canonical(record).encode()):
        raise ValueError("its checksum does not match")
    if not record["id"] == path.stem == identity(record["config"]):
        raise ValueError("its id is not that of its configuration")
    expected = record.pop("arrays_sha256", None)
    arrays = path.with_suffix(".npz")
    if expected and expected != _sha256(arrays.read_bytes()):
        raise ValueError(f"the checksum of {arrays.name} does not match")
    return record


def load_arrays(folder: str | Path, identity: str) -> dict[str, np.ndarray]:
    """A cell's history (`history_*`, one row a chunk of epochs) and `example_*` windows."""
    with np.load(Path(folder) / "cells" / f"{identity}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def save(folder: Path, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a cell's arrays, then its record; NaN and infinite metrics become null."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    cells = folder / "cells"
    _write(cells / f"{record['id']}.npz", buffer.getvalue())
    metrics = {
        name: value if np.isfinite(value) else None for name, value in record["metrics"].items()
    }
    record = {**record, "metrics": metrics, "arrays_sha256": _sha256(buffer.getvalue())}
    record |= {"sha256": _sha256(canonical(record).encode())}
    write_json(cells / f"{record['id']}.json", record)


def set_aside(folder: Path, record: Record) -> None:
    """Rename a stale record's files to `….stale`: it counts as missing from now on."""
    for suffix in (".json", ".npz"):
        path = folder / "cells" / (record["id"] + suffix)
        path.replace(path.with_name(path.name + ".stale"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The sweep's manifest, or an empty one where there is none that can be read."""
    try:
        found = json.loads((Path(folder) / "manifest.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    whole = isinstance(found, dict) and all(
        isinstance(found.get(key), kind)
        for key, kind in {"plan": dict, "datasets": dict, "sittings": list}.items()
    )
    return found if whole else {}


def write_summary(folder: Path, rows: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """`summary.csv`; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "summary.csv", text.getvalue())


def write_text(path: Path, text: str) -> None:
    _write(path, text.encode())


@contextmanager
def opened(folder: Path) -> Iterator[None]:
    """The folder for this process alone: made if need be, and known to be writable.

    Raises:
      UsageError: if it cannot be written to, or another process has it open: says which. The
        lock of a process that died is taken over.
    """
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        _write(folder / "cells" / ".writable", b"")
        (folder / "cells" / ".writable").unlink(missing_ok=True)
    except (OSError, StorageError) as error:
        raise UsageError(f"--out {folder} cannot be written to: {error}") from error
    owner = folder / ".owner.json"
    try:
        lock = FileLock(folder / ".lock", timeout=0).acquire()
    except Timeout:
        who = "another process"
        with suppress(FileNotFoundError, ValueError):
            found = json.loads(owner.read_bytes())
            who = f"process {found['process']} on {found['host']}"
        raise UsageError(
            f"{folder} is in use by {who}. Wait for it to end, or give another --out."
        ) from None
    with lock:
        for leftover in (*folder.glob(".*.tmp"), *folder.glob("cells/.*.tmp")):
            leftover.unlink()
        write_json(owner, {"process": os.getpid(), "host": platform.node()})
        try:
            yield
        finally:
            with suppress(OSError):
                owner.unlink()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
