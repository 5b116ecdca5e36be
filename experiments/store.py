"""Records on disk: `cells/<id>.json` and `.npz`, `manifest.json`; many of them in one file,
`packed/<dataset>.npz`. What is promised of them says `docs/results_folder.md`.

A file is written beside its place, flushed, and renamed over it: it is there whole or not at
all. A record's arrays are written before the record, and the record holds their checksum and its
own, so that whatever happened to a file later is found.
"""

import hashlib
import os
import platform
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from experiments.files import (
    MOST_RECORD,
    Arrays,
    StorageError,
    inside,
    listed,
    make_folder,
    read_arrays,
    read_bytes,
    read_json,
    refuse_link,
    stamp,
    write_arrays,
    write_bytes,
    write_json,
)
from experiments.locks import InUseError, locked
from experiments.shapes import MANIFEST, misfit
from experiments.usage import UsageError

FIELDS = {"id", "status", "config", "metrics", "timing", "error"}
# What reading a file raises that holds no record; one that is gone has lost its arrays.
DAMAGE = (ValueError, TypeError, LookupError, FileNotFoundError)
# A record written by hand has none of these.
OPTIONAL = {"fingerprint", "sources", "arrays_sha256", "sha256"}
MOST_ERROR = 10_000  # characters that are kept of why a cell failed
LONGEST_NAME = 200  # bytes of a packed file's name, without what is put round it
OF_A_RECORD = re.compile(r"[0-9a-f]{64}\.json")
HALF_WRITTEN = re.compile(r"\..+\.\d+\.tmp")  # by `write_bytes`
FOLDERS = "cells", "packed", "figures", "tables"  # that a sweep makes


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
      set_aside: whether such a file, if it has a record's name, is renamed to `<name>.damaged`,
        and its arrays with it; for who has the folder `opened`.

    Raises:
      UsageError: if the folder holds no sweep.
      StorageError: if something in it cannot be read: that says nothing of what it holds.
    """
    cells = Path(folder) / "cells"
    if not holds_sweep(folder):
        raise UsageError(f"{folder} holds no sweep: there are no records in {cells}.")
    records = {identity: record for identity, (record, _) in _packed(folder).items()}
    for path in listed(cells, ".json"):
        try:
            records[path.stem] = _read_again(path)
        except DAMAGE as error:
            aside = ""
            if set_aside and OF_A_RECORD.fullmatch(path.name):
                aside = f"set aside as {_set_aside(cells, path.stem, 'damaged')}, "
            warnings.warn(
                f"{path} is not a whole record ({error}): {aside}its cell counts as missing.",
                stacklevel=2,
            )
    return [records[identity] for identity in sorted(records)]


def holds_sweep(folder: str | Path) -> bool:
    """Whether a folder has what a sweep makes: a manifest or records, or nothing but folders for
    them. Others have a `cells/` too, and a `manifest.json`.

    Raises:
      StorageError: if that cannot be read.
    """
    found = {path.name for path in inside(Path(folder)) if path.name[0] != "."}
    if not found & {"cells", "packed"}:
        return False
    loose = any(OF_A_RECORD.match(path.name) for path in inside(Path(folder) / "cells"))
    is_packed = bool(listed(Path(folder) / "packed", ".npz"))
    return found <= {*FOLDERS} or loose or is_packed or bool(_manifest(Path(folder)))


def pack(folder: Path) -> list[Path]:
    """Write `packed/<dataset>.npz` for each dataset of the folder; returns their paths.

    Raises:
      StorageError: if one is there that cannot be read, and would be written over, a record's
        arrays cannot be read, or what was written does not hold all.
    """
    if cut := damaged(folder):
        raise StorageError(
            f"{cut[0]} is not whole, and nothing is packed over it: put a whole copy there, or "
            "delete it, and its cells run again."
        )
    by_dataset: dict[str, list[Record]] = {}
    for record in read(folder):
        by_dataset.setdefault(record.cell.dataset, []).append(record)
    make_folder(folder / "packed")
    paths = []
    for dataset, records in by_dataset.items():
        arrays = arrays_of(folder, records, whole=True)
        paths.append(folder / "packed" / _packed_name(dataset))
        write_arrays(paths[-1], packed.pack([(record, arrays[record.id]) for record in records]))
    there = _packed(folder)
    if lost := [r.cell for records in by_dataset.values() for r in records if r.id not in there]:
        raise StorageError(f"{len(lost)} packed records cannot be read again: keep cells/.")
    return paths


def _packed_name(dataset: str) -> str:
    """Quoted, names that differ stay different: none is written over another."""
    name = quote(dataset, safe="", errors="surrogatepass")
    short = f"{name[:120]}-{_sha256(canonical(dataset).encode())}"
    return f"{name if len(name) <= LONGEST_NAME else short}.npz"


def damaged(folder: str | Path) -> list[Path]:
    """The packed files that cannot be read."""
    return [path for path, found in _packs(folder) if not found]


def _packed(folder: str | Path) -> dict[str, tuple[Record, Arrays]]:
    """The packed records and their arrays, by id."""
    return {identity: held for _, found in _packs(folder) for identity, held in found.items()}


def _packs(folder: str | Path) -> Iterator[tuple[Path, dict[str, tuple[Record, Arrays]]]]:
    """Each packed file and what it holds."""
    for path in listed(Path(folder) / "packed", ".npz"):
        yield path, _unpacked(path, stamp(path))


@lru_cache(maxsize=1024)
def _unpacked(path: Path, stamp: tuple[int, int]) -> dict[str, tuple[Record, Arrays]]:
    try:
        found = packed.unpack(read_arrays(read_bytes(path)))
        return {record.id: (record, arrays) for record, arrays in found}
    except DAMAGE as error:
        warnings.warn(f"{path} is not whole ({error}): its cells count as missing.", stacklevel=2)
        return {}


def _read_again(path: Path) -> Record:
    """A record that a sweep may be writing at this moment."""
    with suppress(*DAMAGE):
        return _read(path)
    return _read(path)


def _read(path: Path) -> Record:
    found = read_json(path, MOST_RECORD)
    if not isinstance(found, dict) or not FIELDS <= found.keys() <= FIELDS | OPTIONAL:
        raise ValueError("its fields are not a record's")
    expected = found.pop("sha256", None)
    if expected and expected != _sha256(canonical(found).encode()):
        raise ValueError("its checksum does not match")
    expected = found.pop("arrays_sha256", None)
    record = Record.from_json(found)
    if not found["id"] == path.stem == record.id:
        raise ValueError("its id is not that of its configuration")
    arrays = path.with_suffix(".npz")
    if expected and expected != _sha256(read_bytes(arrays)):
        raise ValueError(f"the checksum of {arrays.name} does not match")
    return record


def load_arrays(folder: str | Path, identity: str) -> Arrays:
    """A cell's history (`history_*`, one row a chunk of epochs), `example_*` windows, and
    `block_mse`, the error of consecutive blocks of its split, where the record has it.

    Raises:
      FileNotFoundError: if there are none.
      ValueError: if the file does not hold such arrays.
      StorageError: if it cannot be read.
    """
    refuse_link(Path(folder) / "cells")
    try:
        return read_arrays(read_bytes(_arrays_path(folder, identity)))
    except FileNotFoundError:
        for _, found in _packs(folder):
            if identity in found:
                return found[identity][1]
        raise


def _arrays_path(folder: str | Path, identity: str) -> Path:
    return Path(folder) / "cells" / f"{identity}.npz"


def arrays_of(folder: Path, records: Iterable[Record], whole: bool = False) -> dict[str, Arrays]:
    """The arrays of records, by id; none of one that has none: a failed cell's, or one written by
    hand.

    Args:
      folder: the sweep's.
      records: some of its records.
      whole: whether arrays that are not whole are an error; else they count as none, with a
        warning. A record that has a checksum of its arrays was not read without them.

    Raises:
      StorageError: if arrays cannot be read.
    """
    there, found = _packed(folder), {}
    for record in records:
        _, found[record.id] = there.get(record.id, (record, {}))
        path = _arrays_path(folder, record.id)
        try:
            found[record.id] = packed.checked(read_arrays(read_bytes(path)))
        except FileNotFoundError:
            continue
        except ValueError as error:
            text = f"{path} does not hold arrays of a record ({error})"
            if whole:
                raise StorageError(f"{text}: move it away, and its record has none.") from error
            warnings.warn(f"{text}: they are left out.", stacklevel=2)
    return found


def save(folder: Path, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a cell's arrays, then its record; NaN and infinite metrics become null."""
    cells = folder / "cells"
    content = write_arrays(cells / f"{record.id}.npz", arrays)
    error = record.error and record.error[:MOST_ERROR]
    found = replace(record, metrics=with_nulls(record.metrics), error=error).to_json()
    found |= {"arrays_sha256": _sha256(content)}
    found |= {"sha256": _sha256(canonical(found).encode())}
    write_json(cells / f"{record.id}.json", found)


def with_nulls(metrics: Mapping[str, float | None]) -> dict[str, float | None]:
    """Metrics as they are kept: what is not finite is null."""
    return {
        name: None if value is None or not np.isfinite(value) else value
        for name, value in metrics.items()
    }


def check_loose(folder: Path, records: Iterable[Record]) -> None:
    """That none of the records is packed, for those cannot be set aside.

    Raises:
      UsageError: if one is; says which file to delete.
    """
    holders = {identity: path for path, found in _packs(folder) for identity in found}
    for record in records:
        if record.id in holders:
            raise UsageError(
                f"{record.cell.dataset} has stale records in {folder / 'packed'}: "
                f"delete its file there, {holders[record.id].name}, and its cells run again."
            )


def set_aside(folder: Path, record: Record) -> None:
    """Rename a loose record's files to `….stale`: it counts as missing from now on."""
    _set_aside(folder / "cells", record.id, "stale")


def _set_aside(cells: Path, identity: str, ending: str) -> str:
    """Rename a record's files, arrays first: broken off between the two, the record is found
    without them, and no other is written over them. Returns the record's new name."""
    paths = [cells / f"{identity}{suffix}" for suffix in (".npz", ".json")]
    ending = _free(paths, ending)
    for path in paths:
        _rename(path, ending)
    return f"{paths[-1].name}.{ending}"


def _free(paths: Sequence[Path], ending: str) -> str:
    """An ending, with a number if need be, that none of the files has beside it."""
    endings = chain([ending], (f"{ending}-{number}" for number in count(2)))
    return next(
        one
        for one in endings
        if not any(os.path.lexists(path.with_name(f"{path.name}.{one}")) for path in paths)
    )


def _rename(path: Path, ending: str) -> None:
    try:
        path.rename(path.with_name(f"{path.name}.{ending}"))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StorageError(f"{path} cannot be set aside: {error.strerror or error}.") from error


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The sweep's manifest, or an empty one where there is none; one that is not whole counts as
    missing, with a warning.

    Raises:
      StorageError: if it cannot be read: that says nothing of what it holds.
    """
    found = _manifest(Path(folder))
    if found is None:
        path = Path(folder) / "manifest.json"
        warnings.warn(f"{path} is not whole: it counts as missing.", stacklevel=2)
    return found or {}


def has_damaged_manifest(folder: Path) -> bool:
    return _manifest(folder) is None


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest; an empty one where there is none, None for one that is not whole."""
    try:
        found = read_json(folder / "manifest.json")
        if isinstance(found, dict) and "sittings" in found:  # as older manifests call them
            found["sessions"] = found.pop("sittings")
        if misfit(found, MANIFEST) or not {"plan", "datasets", "sessions"} <= found.keys():
            return None
        checksum = found.pop("sha256", None)
        of_all = _sha256(canonical(found).encode())
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    return found if checksum in (None, of_all) else None


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """With a checksum of its own, so that a change is found."""
    checksum = _sha256(canonical(manifest).encode())
    write_json(folder / "manifest.json", {**manifest, "sha256": checksum})


def set_manifest_aside(folder: Path) -> Path | None:
    """Rename a manifest that is not whole to `….damaged`; its new name, if there is one."""
    path = folder / "manifest.json"
    if not has_damaged_manifest(folder):
        return None
    ending = _free([path], "damaged")
    _rename(path, ending)
    return path.with_name(f"{path.name}.{ending}")


@contextmanager
def opened(folder: Path) -> Iterator[Callable[[], None]]:
    """The folder for this process alone: made if need be, and known to be writable.

    Yields:
      what raises a StorageError, once the folder is moved or another is in its place.

    Raises:
      UsageError: if it cannot be written to, or another process has it open: says which. The
        lock of a process that died is taken over.
      StorageError: if it cannot be read, or a folder in it is a link.
    """
    there = [path for path in inside(folder) if path.name[0] != "."]
    if there and not holds_sweep(folder):
        raise UsageError(
            f"--out {folder} is not empty and holds no sweep: a sweep would write over what is "
            "there. Give a new folder, or one of a sweep."
        )
    for name in (*FOLDERS, ".lock", ".lock.soft"):
        refuse_link(folder / name)
    owner = folder / ".owner.json"
    with ExitStack() as stack:
        try:
            (folder / "cells").mkdir(parents=True, exist_ok=True)
            is_here = stack.enter_context(locked(folder))
            write_bytes(folder / "cells" / ".writable", b"")
            (folder / "cells" / ".writable").unlink(missing_ok=True)
        except InUseError as error:
            who = "another process"
            with suppress(StorageError, FileNotFoundError, ValueError, TypeError, KeyError):
                found = read_json(owner)
                who = f"process {found['process']} on {found['host']}"
            raise UsageError(
                f"{folder} is in use by {who}. Wait for it to end, or give another --out.{error}"
            ) from None
        except (OSError, StorageError) as error:
            raise UsageError(f"--out {folder} cannot be written to: {error}") from error
        for place in (folder, *(folder / name for name in FOLDERS)):
            for leftover in filter(_is_half_written, inside(place)):
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


def _is_half_written(path: Path) -> bool:
    return bool(HALF_WRITTEN.fullmatch(path.name)) and not path.is_dir()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
