"""One process a folder, by a lock that ends with its process."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

# What a file system says that has no such locks: some network disks, some mounts of containers.
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


class InUseError(Exception):
    """Another process has the folder; the message says what to do besides waiting, if anything."""


@contextmanager
def locked(folder: Path) -> Iterator[Callable[[], bool]]:
    """The folder for this process alone.

    Yields:
      whether the folder is still there: not another one by its name, and with its lock.

    Raises:
      InUseError: if another process has it.
      OSError: if the lock's file cannot be written.
    """
    lock = _acquire(folder)
    with lock:
        mine = os.stat(lock.lock_file)

        def is_here() -> bool:
            try:
                return os.path.samestat(os.stat(lock.lock_file), mine)
            except OSError:
                return False

        yield is_here


def _acquire(folder: Path) -> BaseFileLock:
    """A lock of the file system or, where it has none, a file that says whose it is."""
    try:
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
        return lock
    except Timeout:
        raise InUseError("") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    lock = SoftFileLock(folder / ".lock.soft", timeout=0)
    try:
        lock.acquire()
        return lock
    except Timeout:
        raise InUseError(
            f" Or, if that process is gone, delete {lock.lock_file}: this file system has no locks "
            "that end with their process."
        ) from None
