"""Files of a folder that somebody else may have filled: read within bounds, written whole.

Only plain files are read, none larger than what a sweep writes, and no link is followed: what a
folder holds decides nothing outside it. A name that a file gives is no path until it `is_bare`.
"""

import io
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

Arrays = dict[str, np.ndarray]
MOST_BYTES = 1 << 29  # of a file, and of the arrays in one
MOST_JSON = 1 << 24  # bytes of JSON, which takes some twenty times as much in memory
MOST_RECORD = 1 << 20  # those of a record
LONGEST_NAME = 255  # bytes of a file's name


class StorageError(Exception):
    """The sweep's folder could not be written to, or read from."""


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """A plain file's content.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is a link, no file, or larger than `most`.
      StorageError: if the read fails, which says nothing of what is there.
    """
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode):
            raise ValueError("it is a link, or no file, and is not read")
        if about.st_size > most:
            raise ValueError(f"it has {about.st_size} bytes, and {most} at most are read")
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error


def read_json(path: Path, most: int = MOST_JSON) -> Any:
    """What a file of JSON holds; errors are those of `read_bytes`."""
    return parse(read_bytes(path, most), most)


def parse(text: bytes, most: int = MOST_JSON) -> Any:
    """What a text of JSON holds.

    Raises:
      ValueError: if it is none, longer than `most`, or nested too deeply.
    """
    if len(text) > most:
        raise ValueError(f"it has {len(text)} bytes of JSON, and {most} at most are read")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_arrays(content: bytes) -> Arrays:
    """The arrays of an `.npz`.

    Raises:
      ValueError: if it holds something else, or more than MOST_BYTES once it is unpacked.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) != int.from_bytes(content[-12:-10], "little"):
                raise ValueError("its directory does not list all that it holds")
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise ValueError(f"unpacked it has more than {MOST_BYTES} bytes")
            return {one.filename.removesuffix(".npy"): _array(archive, one) for one in members}
    except MemoryError:
        raise
    except Exception as error:  # whatever zipfile, zlib and numpy make of a damaged file
        raise ValueError(str(error) or type(error).__name__) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array of an archive; as `np.load` does, which would make room for whatever size an array
    has by its own account."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{member.filename} is compressed in another way than by numpy")
    content = io.BytesIO()
    with archive.open(member) as file:
        shutil.copyfileobj(file, content)
    content.seek(0)
    if npy.read_magic(content) != (1, 0):
        raise ValueError(f"{member.filename} is of another version than numpy writes")
    shape, is_fortran, dtype = npy.read_array_header_1_0(content)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} is pickled, and read with allow_pickle=False")
    start, held = content.tell(), content.getbuffer()
    if start + prod(shape) * dtype.itemsize != len(held):
        raise ValueError(f"{member.filename} is not as large as it says")
    return np.ndarray(shape, dtype, held, start, order="F" if is_fortran else "C")


def listed(folder: Path, ending: str) -> list[Path]:
    """What there is in a folder with names that end so, sorted; nothing where there is no folder.

    Raises:
      StorageError: if the folder is a link, or cannot be listed.
    """
    refuse_link(folder)
    return [path for path in inside(folder) if path.name.endswith(ending)]


def inside(folder: Path) -> list[Path]:
    """All that there is in a folder, sorted; nothing where there is no folder.

    Raises:
      StorageError: if it cannot be listed.
    """
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def stamp(path: Path) -> tuple[int, int]:
    """When a file was changed, and its size: another content has another."""
    try:
        about = path.lstat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return about.st_mtime_ns, about.st_size


def refuse_link(folder: Path) -> None:
    """Raises a StorageError for a link, which leads to what is somebody else's."""
    if os.path.islink(folder):
        raise StorageError(
            f"{folder} is a link: nothing is read, written or deleted where it leads. Link the "
            "whole folder of the sweep, if it is to lie elsewhere."
        )


def make_folder(folder: Path) -> None:
    """A folder for what a sweep makes.

    Raises:
      StorageError: if it cannot be made, or is a link.
    """
    refuse_link(folder)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror or error}.") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file beside its place, flush it and rename it: whole, or as it was before.

    Raises:
      StorageError: if that fails.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            _write_beside(path, temporary, content)
        except FileNotFoundError:  # a sweep that opened the folder just now cleared it
            _write_beside(path, temporary, content)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise StorageError(f"{path} cannot be written: {error.strerror or error}.") from error


def _write_beside(path: Path, temporary: Path, content: bytes) -> None:
    temporary.unlink(missing_ok=True)
    with open(temporary, "xb") as file:  # not where a link leads
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """A name may hold half a character, which no file can: it is written as a question mark."""
    write_bytes(path, text.encode(errors="replace"))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write an `.npz`; returns its content.

    Raises:
      StorageError: if that fails, or it would hold more than is read again.
    """
    size = sum(array.nbytes for array in arrays.values())
    if size > 0.9 * MOST_BYTES:
        raise StorageError(f"{path} would hold {size} bytes, more than are read again.")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(path, buffer.getvalue())
    return buffer.getvalue()


def write_made(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that can be made again, and delete those that were written here before."""
    if odd := [name for name in contents if not is_bare(name)]:
        raise StorageError(f"{folder} cannot hold a file of the name {odd[0]!r}.")
    path = folder / "made.json"
    make_folder(folder)
    with suppress(FileNotFoundError, ValueError, TypeError):
        forget(folder, set(read_json(path)) - contents.keys(), (".csv", ".tex"))
    write_json(path, sorted(contents))
    for name, content in contents.items():
        write_bytes(folder / name, content)


def forget(folder: Path, names: Iterable[object], endings: tuple[str, ...]) -> None:
    """Delete files of a folder, which a file there names: bare names with these endings alone,
    and no links."""
    for name in names if not os.path.islink(folder) else ():
        path = folder / str(name)
        if is_bare(name) and path.suffix in endings and path.is_file() and not path.is_symlink():
            path.unlink()


def is_bare(name: object) -> bool:
    """Whether it names something of a folder, and nothing outside it."""
    return (
        isinstance(name, str)
        and Path(name).name == name not in ("", ".", "..")
        and len(name.encode(errors="replace")) <= LONGEST_NAME
    )


def _unreadable(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path} cannot be read: {error.strerror or error}.")
