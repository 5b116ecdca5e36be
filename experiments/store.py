"""Records on disk: `cells/<id>.json` and `.npz`, `manifest.json`, `summary.csv`; many of them in
one file, `packed/<dataset>.npz`.

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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import lru_cache
from itertools import chain, count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from experiments import packed
from experiments.cells import Json, Record, canonical
from experiments.locks import InUseError, locked
from experiments.usage import UsageError

Arrays = dict[str, np.ndarray]
FIELDS = {"id", "status", "config", "metrics", "timing", "error"}
STATUSES = ("done", "failed")
# What reading a file raises that holds no record; one that is gone has lost its arrays.
DAMAGE = (ValueError, TypeError, KeyError, RecursionError, FileNotFoundError)
# A record written by hand has none of these.
OPTIONAL = {"fingerprint", "sources", "arrays_sha256", "sha256"}


class StorageError(Exception):
    """The sweep's folder could not be written to, or read from."""


def load(folder: str | Path) -> list[Json]:
    """Every record of a sweep as plain JSON, ordered by id: `id`, `status`, `config`, `metrics`,
    `timing`, `error`. Null metrics are None.

    Raises:
      UsageError: if the folder holds no sweep.
      StorageError: if something in it cannot be read.
    """
    return [record.to_json() for record in read(folder)]


def read(folder: str | Path, set_aside: bool = False) -> list[Record]:
    """Every record of a sweep, ordered by id; null metrics are None.

    A file that is no whole record (truncated, altered, under another's name, without its arrays)
    counts as missing, with a warning. A record in `cells/` comes before a packed one.

    Args:
      folder: the sweep's.
      set_aside: whether such a file is renamed to `<name>.damaged`; for who has the folder
        `opened`.

    Raises:
      UsageError: if the folder holds no sweep.
      StorageError: if something in it cannot be read: that says nothing of what it holds.
    """
    cells = Path(folder) / "cells"
    if not holds_sweep(folder):
        raise UsageError(f"{folder} holds no sweep: there is no folder {cells}.")
    records = {identity: record for identity, (record, _) in _packed(folder).items()}
    for path in sorted(cells.glob("*.json")):
        try:
            records[path.stem] = _read_again(path)
        except DAMAGE as error:
            aside = f"set aside as {path.name}.damaged, " if set_aside else ""
            if set_aside:
                with suppress(OSError):
                    _renamed(path, "damaged")
            warnings.warn(
                f"{path} is not a whole record ({error}): {aside}its cell counts as missing.",
                stacklevel=2,
            )
    return [records[identity] for identity in sorted(records)]


def holds_sweep(folder: str | Path) -> bool:
    return any((Path(folder) / name).is_dir() for name in ("cells", "packed"))


def pack(folder: Path) -> list[Path]:
    """Write `packed/<dataset>.npz` for each dataset of the folder; returns their paths.

    Raises:
      StorageError: if one is there that cannot be read, and would be written over.
    """
    if cut := damaged(folder):
        raise StorageError(
            f"{cut[0]} is not whole, and nothing is packed over it: put a whole copy there, or "
            "delete it, and its cells run again."
        )
    by_dataset: dict[str, list[Record]] = {}
    for record in read(folder):
        by_dataset.setdefault(record.cell.dataset, []).append(record)
    (folder / "packed").mkdir(exist_ok=True)
    paths = []
    for dataset, records in by_dataset.items():
        found = [(record, arrays_of(folder, record)) for record in records]
        # Quoted, names that differ stay different: none is written over another.
        paths.append(folder / "packed" / f"{quote(dataset, safe='')}.npz")
        write_arrays(paths[-1], packed.pack(found))
    return paths


def damaged(folder: str | Path) -> list[Path]:
    """The packed files that cannot be read."""
    paths = sorted((Path(folder) / "packed").glob("*.npz"))
    return [path for path in paths if not _unpacked(path, path.stat().st_mtime_ns)]


def _packed(folder: str | Path) -> dict[str, tuple[Record, Arrays]]:
    """The packed records and their arrays, by id."""
    found = {}
    for path in sorted((Path(folder) / "packed").glob("*.npz")):
        found.update(_unpacked(path, path.stat().st_mtime_ns))
    return found


@lru_cache(maxsize=64)
def _unpacked(path: Path, changed: int) -> dict[str, tuple[Record, Arrays]]:
    try:
        content = _content(path)
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            found = packed.unpack({key: file[key] for key in file.files})
        return {record.id: (record, arrays) for record, arrays in found}
    except StorageError:
        raise
    except Exception as error:  # whatever zipfile, lzma, numpy and json make of a damaged file
        warnings.warn(f"{path} is not whole ({error}): its cells count as missing.", stacklevel=2)
        return {}


def _read_again(path: Path) -> Record:
    """A record that a sweep may be writing at this moment."""
    with suppress(*DAMAGE):
        return _read(path)
    return _read(path)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror or error}.") from error


def _read(path: Path) -> Record:
    found = json.loads(_content(path))
    if not isinstance(found, dict) or not FIELDS <= found.keys() <= FIELDS | OPTIONAL:
        raise ValueError("its fields are not a record's")
    parts = found["config"], found["metrics"], found["timing"]
    if not all(isinstance(part, dict) for part in parts) or found["status"] not in STATUSES:
        raise ValueError("its fields do not hold what a record's do")
    expected = found.pop("sha256", None)
    if expected and expected != _sha256(canonical(found).encode()):
        raise ValueError("its checksum does not match")
    expected = found.pop("arrays_sha256", None)
    record = Record.from_json(found)
    if not found["id"] == path.stem == record.id:
        raise ValueError("its id is not that of its configuration")
    arrays = path.with_suffix(".npz")
    if expected and expected != _sha256(_content(arrays)):
        raise ValueError(f"the checksum of {arrays.name} does not match")
    return record


def load_arrays(folder: str | Path, identity: str) -> Arrays:
    """A cell's history (`history_*`, one row a chunk of epochs) and `example_*` windows."""
    path = Path(folder) / "cells" / f"{identity}.npz"
    there = {} if path.is_file() else _packed(folder)
    if identity in there:
        return there[identity][1]
    with np.load(path, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def arrays_of(folder: Path, record: Record) -> Arrays:
    """A record's arrays; none of one that has none: a failed cell's, or one written by hand."""
    try:
        return load_arrays(folder, record.id)
    except FileNotFoundError:
        return {}


def save(folder: Path, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a cell's arrays, then its record; NaN and infinite metrics become null."""
    cells = folder / "cells"
    content = write_arrays(cells / f"{record.id}.npz", arrays)
    found = replace(record, metrics=with_nulls(record.metrics)).to_json()
    found |= {"arrays_sha256": _sha256(content)}
    found |= {"sha256": _sha256(canonical(found).encode())}
    write_json(cells / f"{record.id}.json", found)


def with_nulls(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Metrics as they are kept: what is not finite is null."""
    return {
        name: None if value is None or not np.isfinite(value) else value
        for name, value in metrics.items()
    }


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write an `.npz`; returns its content."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())
    return buffer.getvalue()


def check_loose(folder: Path, records: Iterable[Record]) -> None:
    """That none of the records is packed, for those cannot be set aside.

    Raises:
      UsageError: if one is; says which file to delete.
    """
    there = _packed(folder)
    for record in records:
        if record.id in there:
            raise UsageError(
                f"{record.cell.dataset} has stale records in {folder / 'packed'}: "
                "delete its file there, and its cells run again."
            )


def set_aside(folder: Path, record: Record) -> None:
    """Rename a loose record's files to `….stale`: it counts as missing from now on."""
    for suffix in (".json", ".npz"):
        path = folder / "cells" / (record.id + suffix)
        if path.exists():
            _renamed(path, "stale")


def _renamed(path: Path, ending: str) -> Path:
    """Rename a file to `<name>.<ending>`, or with a number where that is taken."""
    names = chain([ending], (f"{ending}-{number}" for number in count(2)))
    places = (path.with_name(f"{path.name}.{name}") for name in names)
    return path.rename(next(place for place in places if not place.exists()))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The sweep's manifest, or an empty one where there is none that can be read."""
    try:
        found = json.loads((Path(folder) / "manifest.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if isinstance(found, dict) and "sittings" in found:  # as older manifests call them
        found["sessions"] = found.pop("sittings")
    whole = isinstance(found, dict) and all(
        isinstance(found.get(key), kind)
        for key, kind in {"plan": dict, "datasets": dict, "sessions": list}.items()
    )
    return found if whole else {}


def set_manifest_aside(folder: Path) -> Path | None:
    """Rename a manifest that cannot be read to `….damaged`; its new name, if there is one."""
    path = folder / "manifest.json"
    return _renamed(path, "damaged") if path.exists() and not read_manifest(folder) else None


def write_summary(folder: Path, rows: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """`summary.csv`; None is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "summary.csv", text.getvalue())


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_made(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that can be made again, and delete those that were written here before."""
    path = folder / "made.json"
    make_folder(folder)
    with suppress(OSError, ValueError, TypeError):
        forget(folder, set(json.loads(path.read_bytes())) - contents.keys())
    write_json(path, sorted(contents))
    for name, content in contents.items():
        write_bytes(folder / name, content)


def make_folder(folder: Path) -> None:
    """A folder for what a sweep makes; not one that a link leads to, which is somebody else's."""
    if folder.is_symlink():
        raise StorageError(f"{folder} is a link: nothing is written or deleted where it leads.")
    folder.mkdir(exist_ok=True)


def forget(folder: Path, names: Iterable[str]) -> None:
    """Delete files of a folder, which a file there names: bare names alone, and no links."""
    for name in names if not folder.is_symlink() else ():
        path = folder / str(name)
        if is_bare(name) and path.is_file() and not path.is_symlink():
            path.unlink()


def is_bare(name: object) -> bool:
    """Whether it names something of a folder, and nothing outside it."""
    return isinstance(name, str) and Path(name).name == name not in ("", ".", "..")


@contextmanager
def opened(folder: Path) -> Iterator[Callable[[], None]]:
    """The folder for this process alone: made if need be, and known to be writable.

    Yields:
      what raises a StorageError, once the folder is moved or another is in its place.

    Raises:
      UsageError: if it cannot be written to, or another process has it open: says which. The
        lock of a process that died is taken over.
    """
    if not holds_sweep(folder) and any(not path.name.startswith(".") for path in _inside(folder)):
        raise UsageError(
            f"--out {folder} is not empty and holds no sweep: a sweep would write over what is "
            "there. Give a new folder, or one of a sweep."
        )
    owner = folder / ".owner.json"
    with ExitStack() as stack:
        try:
            (folder / "cells").mkdir(parents=True, exist_ok=True)
            is_here = stack.enter_context(locked(folder))
            write_bytes(folder / "cells" / ".writable", b"")
            (folder / "cells" / ".writable").unlink(missing_ok=True)
        except InUseError as error:
            who = "another process"
            with suppress(FileNotFoundError, ValueError):
                found = json.loads(owner.read_bytes())
                who = f"process {found['process']} on {found['host']}"
            raise UsageError(
                f"{folder} is in use by {who}. Wait for it to end, or give another --out.{error}"
            ) from None
        except (OSError, StorageError) as error:
            raise UsageError(f"--out {folder} cannot be written to: {error}") from error
        for leftover in (*folder.glob(".*.tmp"), *folder.glob("cells/.*.tmp")):
            leftover.unlink()
        write_json(owner, {"process": os.getpid(), "host": platform.node()})

        def check() -> None:
            if not is_here():
                raise StorageError(
                    f"{folder} is not the folder any more that this sweep writes to: it was moved, "
                    "deleted or replaced, or its lock was. Nothing more is written there."
                )

        try:
            yield check
            check()
        finally:
            if is_here():
                with suppress(OSError):
                    owner.unlink()


def _inside(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return list(folder.iterdir())
    return []


def write_bytes(path: Path, content: bytes) -> None:
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
