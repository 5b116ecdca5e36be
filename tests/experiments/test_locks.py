"""One process a folder."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from experiments import store
from experiments.files import StorageError
from experiments.locks import InUseError, locked
from experiments.usage import UsageError


@pytest.fixture(params=["ENOLCK", "EOPNOTSUPP"])
def no_locks(request, monkeypatch):
    """As on a file system without locks."""

    def fail(*_):
        number = getattr(errno, request.param)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)


def refusal(folder):
    with pytest.raises(UsageError) as error, store.opened(folder):
        pass
    return str(error.value)


def test_without_locks_of_the_file_system_a_file_serves(tmp_path, no_locks):
    with store.opened(tmp_path):
        said = refusal(tmp_path)
        assert f"is in use by process {os.getpid()}" in said
        assert f"delete {tmp_path / '.lock.soft'}" in said
    for _ in range(2):
        with store.opened(tmp_path):
            pass


HOLD = """
import sys, time
from filelock import SoftFileLock
lock = SoftFileLock(sys.argv[1], timeout=0)
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_without_locks_that_of_a_killed_process_is_taken_over(tmp_path, no_locks):
    command = [sys.executable, "-c", HOLD, str(tmp_path / ".lock.soft")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    holder.stdout.readline()
    try:
        with pytest.raises(InUseError), locked(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with locked(tmp_path):
        pass


def test_another_error_of_a_lock_is_said(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "flock", fail)
    assert "cannot be written to: [Errno 5] Input/output error" in refusal(tmp_path)


def test_a_folder_opened_at_the_same_moment_is_in_use(tmp_path, monkeypatch):
    """What the other process does to its files meanwhile does not matter."""

    def gone(*_):
        raise StorageError("No such file or directory")

    with store.opened(tmp_path):
        monkeypatch.setattr(store, "write_bytes", gone)
        assert "is in use by" in refusal(tmp_path)


def move(folder):
    folder.rename(folder.with_name("moved"))


def replace(folder):
    move(folder)
    (folder / "cells").mkdir(parents=True)
    (folder / ".lock").touch()
    (folder / ".owner.json").write_text("{}")


def unlock(folder):
    (folder / ".lock").unlink()


@pytest.mark.parametrize("change", [move, replace, unlock])
def test_a_folder_that_is_not_there_any_more_is_noticed_and_another_left_alone(tmp_path, change):
    folder = tmp_path / "sweep"
    before = []

    def use():
        with store.opened(folder) as check:
            check()
            change(folder)
            before.extend(sorted(folder.rglob("*")))
            with pytest.raises(StorageError, match="it was moved, deleted or replaced"):
                check()

    with pytest.raises(StorageError, match="not the folder any more"):
        use()
    assert sorted(folder.rglob("*")) == before
