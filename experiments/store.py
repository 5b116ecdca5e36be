"""Records on disk: `cells/<id>.json` and `.npz`, `manifest.json`, `summary.csv`.

A file is written beside its place, flushed, and renamed over it: it is there whole or not at
all. A record's arrays are written before the record.
"""

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.choices import UsageError

Record = dict[str, Any]


def load(folder: str | Path) -> list[Record]:
    """Every record of a sweep, ordered by id; null metrics are None.

    Raises:
      UsageError: if the folder holds no sweep, or a record that cannot be read.
    """
    cells = Path(folder) / "cells"
    if not cells.is_dir():
        raise UsageError(f"{folder} holds no sweep: there is no folder {cells}.")
    records = []
    for path in sorted(cells.glob("*.json")):
        try:
            record = json.loads(path.read_text())
            if record["id"] != path.stem:
                raise ValueError(f"its id is {record['id']}")
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f"{path} is not a record ({error}). Delete it to have its cell run again."
            ) from error
        records.append(record)
    return records


def load_arrays(folder: str | Path, identity: str) -> dict[str, np.ndarray]:
    """A cell's history (`history_*`, one row a chunk of epochs) and `example_*` windows."""
    with np.load(Path(folder) / "cells" / f"{identity}.npz", allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def save(folder: Path, record: Record, arrays: dict[str, np.ndarray]) -> None:
    """Write a cell's arrays, then its record; NaN and infinite metrics become null."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    cells = folder / "cells"
    _write(cells / f"{record['id']}.npz", buffer.getvalue())
    metrics = {
        name: value if np.isfinite(value) else None for name, value in record["metrics"].items()
    }
    write_json(cells / f"{record['id']}.json", {**record, "metrics": metrics})


def write_json(path: Path, value: Any) -> None:
    _write(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The sweep's manifest, or an empty one where there is none yet."""
    path = Path(folder) / "manifest.json"
    return json.loads(path.read_text()) if path.exists() else {}


def write_summary(folder: Path, rows: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """`summary.csv`; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(folder / "summary.csv", text.getvalue().encode())


def prepare(folder: Path) -> None:
    """Make the folder, and fail now rather than later if it cannot be written to."""
    try:
        (folder / "cells").mkdir(parents=True, exist_ok=True)
        _write(folder / "cells" / ".writable", b"")
        (folder / "cells" / ".writable").unlink()
    except OSError as error:
        raise UsageError(f"--out {folder} cannot be written to: {error}.") from error


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
