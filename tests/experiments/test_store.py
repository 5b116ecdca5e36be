"""Records on disk: whole or not at all, found when damaged, one process a folder."""

import errno
import json
import os
import platform
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import store
from experiments.cells import Cell, Record
from experiments.store import StorageError
from experiments.usage import UsageError

ARRAYS = {"history_epoch": np.arange(3), "example_output": np.linspace(0, 1, 24, dtype=np.float32)}


def make_record(seed=0, **metrics):
    cell = Cell("wind", "0", "final", "clip", "bottleneck", seed, {"weight": 1e-05})
    timing = {"train_seconds": 1.5, "devices": 2}
    return Record(cell, metrics={"mse": 0.1, **metrics}, timing=timing)


@pytest.fixture
def folder(tmp_path):
    with store.opened(tmp_path / "sweep"):
        for seed in range(2):
            store.save(tmp_path / "sweep", make_record(seed), ARRAYS)
    return tmp_path / "sweep"


def path_of(folder, seed=0, ending="json"):
    return folder / "cells" / f"{make_record(seed).id}.{ending}"


def test_what_is_saved_is_loaded_and_nothing_else_is_left(folder):
    expected = sorted((make_record(seed) for seed in range(2)), key=lambda record: record.id)
    assert store.read(folder) == expected
    assert store.load(folder) == [record.to_json() for record in expected]
    loaded = store.load_arrays(folder, make_record().id)
    assert loaded.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    endings = sorted(path.suffix for path in (folder / "cells").iterdir())
    assert endings == [".json", ".json", ".npz", ".npz"]


def test_a_metric_that_is_not_finite_is_null(folder):
    store.save(folder, make_record(5, r2=float("nan"), mae=float("inf")), ARRAYS)
    (found,) = (record for record in store.read(folder) if record.cell.seed == 5)
    assert found.metrics == {"mse": 0.1, "r2": None, "mae": None}


def test_a_record_written_by_hand_needs_no_checksum(folder):
    record = make_record(7)
    path_of(folder, 7).write_text(json.dumps(record.to_json()))
    assert record in store.read(folder)


DAMAGE = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "emptied": lambda path: path.write_bytes(b""),
    "altered": lambda path: path.write_bytes(path.read_bytes().replace(b"0.1", b"0.2")),
    "foreign": lambda path: path.write_text('{"id": "me", "status": "done"}'),
    "no object": lambda path: path.write_text("[1, 2]"),
    "no configuration": lambda path: path.write_text(
        json.dumps({**make_record().to_json(), "config": None, "id": path.stem})
    ),
    "not text": lambda path: path.write_bytes(b"\xff\x00\x80"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "not a cell's": lambda path: path.write_text(
        json.dumps({**make_record().to_json(), "config": {"seed": 0}, "id": path.stem})
    ),
    "another's": lambda path: shutil.copy(path_of(path.parents[1], 1), path),
    "arrays truncated": lambda path: os.truncate(path.with_suffix(".npz"), 100),
    "arrays lost": lambda path: path.with_suffix(".npz").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_is_set_aside_and_counts_as_missing(folder, damage):
    DAMAGE[damage](path_of(folder))
    damaged = path_of(folder).read_bytes()
    with pytest.warns(UserWarning, match="is not a whole record .*: its cell counts as missing"):
        assert store.read(folder) == [make_record(1)]
    assert path_of(folder).read_bytes() == damaged, "a reader renames nothing"
    with pytest.warns(UserWarning, match="is not a whole record .*: set aside as"):
        assert store.read(folder, set_aside=True) == [make_record(1)]
    aside = path_of(folder, ending="json.damaged")
    assert aside.read_bytes() == damaged
    assert not path_of(folder).exists()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(store.load(folder)) == 1


def test_a_foreign_file_of_another_name_is_set_aside_too(folder):
    (folder / "cells" / "notes.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"notes\.json is not a whole record"):
        assert len(store.load(folder)) == 2


@settings(max_examples=200, deadline=None)
@given(data=st.data(), ending=st.sampled_from(["json", "npz"]))
def test_no_flipped_bit_goes_unnoticed(tmp_path_factory, data, ending):
    folder = tmp_path_factory.getbasetemp() / "flipped"
    if not folder.exists():
        (folder / "cells").mkdir(parents=True)
    store.save(folder, make_record(), ARRAYS)
    path = path_of(folder, ending=ending)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, 8 * len(content) - 1))
    content[position // 8] ^= 1 << position % 8
    path.write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = store.read(folder)
    # 1e-05 may become 1E-05: the same record.
    assert found == ([] if caught else [make_record()])
    assert caught or ending == "json"


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("ending", ["json", "npz"])
def test_a_read_that_fails_says_nothing_of_what_is_there(folder, monkeypatch, error, ending):
    read_bytes = Path.read_bytes

    def fail(path):
        if path == path_of(folder, ending=ending):
            raise OSError(error, os.strerror(error))
        return read_bytes(path)

    before = sorted(folder.rglob("*"))
    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(StorageError, match=rf"{path_of(folder).stem}.{ending} cannot be read"):
        store.read(folder, set_aside=True)
    assert sorted(folder.rglob("*")) == before


def test_a_record_that_is_written_at_this_moment_is_read_again(folder, monkeypatch):
    attempts, read = [], store._read

    def racing(path):
        attempts.append(path)
        if len(attempts) == 1:
            raise ValueError("the checksum of its arrays does not match")
        return read(path)

    monkeypatch.setattr(store, "_read", racing)
    assert len(store.read(folder)) == 2
    assert len(attempts) == 3


def test_what_is_set_aside_twice_is_there_twice(folder):
    for ending in ("stale", "stale-2", "stale-3"):
        store.set_aside(folder, make_record())
        assert path_of(folder, ending=f"json.{ending}").exists()
        assert path_of(folder, ending=f"npz.{ending}").exists()
        store.save(folder, make_record(), ARRAYS)
    path_of(folder, ending="npz").unlink()
    store.set_aside(folder, make_record())
    assert not path_of(folder).exists()


def test_a_folder_without_cells_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no sweep"):
        store.load(tmp_path)


def test_arrays_are_read_without_pickle(folder):
    np.savez(path_of(folder, ending="npz"), history_epoch=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        store.load_arrays(folder, make_record().id)


def test_a_write_that_fails_leaves_what_was_there(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    before = path_of(folder).read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(StorageError, match=r"\.npz cannot be written: No space left on device"):
            store.save(folder, make_record(mse=9.0), ARRAYS)
    assert path_of(folder).read_bytes() == before
    assert len(list((folder / "cells").iterdir())) == 4
    assert len(store.load(folder)) == 2


def test_what_a_killed_process_left_half_written_is_removed(folder):
    leftover = folder / "cells" / ".abc.json.123.tmp"
    leftover.write_text("{")
    with store.opened(folder):
        assert not leftover.exists()


def test_a_folder_in_use_is_refused_with_its_owner(folder):
    with (
        store.opened(folder),
        pytest.raises(UsageError, match=f"by process {os.getpid()} on {platform.node()}"),
        store.opened(folder),
    ):
        pass
    with store.opened(folder):
        pass


HOLD = """
import sys, time
from pathlib import Path
from experiments import store
from experiments.cells import Cell, Record
with store.opened(Path(sys.argv[1])):
    print("open", flush=True)
    time.sleep(600)
"""


def test_the_lock_of_a_killed_process_is_taken_over(folder):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE)
    holder.stdout.readline()
    try:
        with (
            pytest.raises(UsageError, match=f"in use by process {holder.pid}"),
            store.opened(folder),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()
    assert (folder / ".owner.json").exists()
    with store.opened(folder):
        assert json.loads((folder / ".owner.json").read_text())["process"] == os.getpid()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--recursive", place], check=True)


def test_a_full_disk_is_a_clear_error_and_leaves_finished_records(small_disk):
    noise = {"example_output": np.random.default_rng(0).normal(size=2000)}

    def fill():
        for seed in range(100):
            store.save(small_disk, make_record(seed), noise)

    with store.opened(small_disk), pytest.raises(StorageError, match="No space left on device"):
        fill()
    assert 2 < len(store.load(small_disk)) < 20


def test_a_folder_that_turns_read_only_is_a_clear_error(small_disk):
    with store.opened(small_disk):
        store.save(small_disk, make_record(), ARRAYS)
        cells = small_disk / "cells"
        subprocess.run(["mount", "--bind", cells, cells], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", cells], check=True)
        with pytest.raises(StorageError, match="Read-only file system"):
            store.save(small_disk, make_record(1), ARRAYS)
    assert store.read(small_disk) == [make_record()]
