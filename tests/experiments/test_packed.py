"""Packed records: what a few small files keep of a sweep's cells."""

import json
import lzma
import shutil
from dataclasses import replace

import numpy as np
import pytest

from experiments import archive, store
from experiments.cells import Cell, Record
from experiments.packed import HISTORY, checked, pack
from experiments.usage import UsageError

NAMES = ("epoch", *HISTORY, "gradient_norm")


def record_of(seed=0, phase="final", dataset="sines", status="done", mse=0.1):
    return Record(
        Cell(dataset, "0", phase, "clip", "bottleneck", seed),
        status,
        {"mse": mse, "code_reliance": float("nan")},
        {"train_seconds": 1.25, "devices": 2},
        None if status == "done" else "diverged",
        {"strategy": "0" * 32, "versions": {"jax": "0.10.0"}},
    )


def arrays_of(seed):
    history = {f"history_{name}": np.array([1, 2, 3]) * (seed + 1.001) for name in NAMES}
    history["history_epoch"] = np.array([5, 10, 15])
    history["history_train_loss"] = np.array([1e9, 2, np.nan], np.float32)
    windows = {key: np.full((2, 4, 1), 0.25) for key in ("example_targets", "example_upper")}
    blocks = {"block_mse": np.float32([seed + 0.1, np.nan, 1e30])}
    return history | windows | blocks | {"example_output": np.full((2, 4, 1), seed + 0.1)}


RECORDS = [
    record_of(0, mse=0.1 + 1e-17),
    record_of(1, mse=1 / 3),
    record_of(1000, "tune"),
    record_of(2, status="failed"),
    record_of(0, dataset="../b c.npz"),
    record_of(0, dataset="../b-c.npz"),
]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "sweep"
    with store.opened(folder):
        for record in RECORDS:
            store.save(folder, record, arrays_of(record.cell.seed))
    return folder


@pytest.fixture
def packed(folder):
    store.pack(folder)
    shutil.rmtree(folder / "cells")
    return folder


def test_every_record_comes_back_to_the_bit(folder):
    before = store.load(folder)
    paths = store.pack(folder)
    assert sorted(path.name for path in paths) == [
        "..%2Fb%20c.npz.npz",
        "..%2Fb-c.npz.npz",
        "sines.npz",
    ]
    assert all(path.parent == folder / "packed" for path in paths)
    shutil.rmtree(folder / "cells")
    assert store.load(folder) == before


def test_what_is_packed_holds_no_ids_and_does_not_hang_on_the_order():
    records = [replace(record, metrics={"mse": 0.1}) for record in RECORDS[:4]]
    found = [(record, arrays_of(record.cell.seed)) for record in records]
    one, other = pack(found), pack(found[::-1])
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    text = lzma.decompress(one["records"].tobytes()).decode()
    assert not any(record.id in text for record in RECORDS)


def test_of_arrays_the_final_history_and_the_first_seeds_examples_are_kept(packed):
    first, second = (store.load_arrays(packed, RECORDS[seed].id) for seed in (0, 1))
    expected = arrays_of(0)
    assert first.keys() == expected.keys() - {"history_gradient_norm"}
    assert second.keys() == {key for key in first if not key.startswith("example_")}
    np.testing.assert_array_equal(second["block_mse"], arrays_of(1)["block_mse"])
    exact = "history_epoch", "block_mse", "example_targets", "example_upper", "example_output"
    for key in exact:
        np.testing.assert_array_equal(first[key], expected[key])
    for name in HISTORY[:1] + HISTORY[2:]:
        np.testing.assert_allclose(first[f"history_{name}"], expected[f"history_{name}"], rtol=1e-3)
    np.testing.assert_array_equal(first["history_train_loss"], [np.inf, 2, np.nan])
    assert store.load_arrays(packed, RECORDS[2].id) == {}


def test_histories_of_several_lengths_come_back_as_they_were(tmp_path):
    folder = tmp_path / "sweep"
    records = [record_of(seed) for seed in range(3)]
    with store.opened(folder):
        for length, record in enumerate(records, 1):
            arrays = arrays_of(0)
            short = {key: a[:length] if "history" in key else a for key, a in arrays.items()}
            store.save(folder, record, short)
    store.pack(folder)
    shutil.rmtree(folder / "cells")
    for length, record in enumerate(records, 1):
        found = store.load_arrays(folder, record.id)
        np.testing.assert_array_equal(found["history_epoch"], [5, 10, 15][:length])
        assert found["history_mse"].shape == (length,)


def test_times_missing_targets_and_inputs_of_other_length_are_kept(tmp_path):
    held = arrays_of(0)
    held["example_inputs"] = np.zeros((2, 9, 3))
    held["example_targets"] = held["example_targets"].copy()
    held["example_targets"][-1, 0] = np.nan
    steps = held["example_targets"].shape[:2]
    held["example_times"] = np.full(steps, "2018-03-05 €")
    record = record_of(0)
    with store.opened(tmp_path / "sweep"):
        store.save(tmp_path / "sweep", record, held)
        store.pack(tmp_path / "sweep")
    for _ in range(2):  # loose, then packed
        found = store.arrays_of(tmp_path / "sweep", [record])[record.id]
        for key in ("example_times", "example_targets", "example_inputs"):
            np.testing.assert_array_equal(found[key], held[key])
        shutil.rmtree(tmp_path / "sweep" / "cells", ignore_errors=True)


def test_records_with_fewer_blocks_or_none_are_packed_beside_others(tmp_path):
    records = [record_of(seed) for seed in (0, 1, 2)]
    blocks = [{"block_mse": np.float32([1, 2])}, {}, {"block_mse": np.float32([3])}]
    folder = tmp_path / "sweep"
    with store.opened(folder):
        for record, of in zip(records, blocks, strict=True):
            store.save(folder, record, of)
        store.pack(folder)
    shutil.rmtree(folder / "cells")
    for record, of in zip(records, blocks, strict=True):
        found = store.load_arrays(folder, record.id)
        assert found.keys() == of.keys()
        np.testing.assert_array_equal(found.get("block_mse"), of.get("block_mse"))


def test_blocks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="block_mse is not one number a block"):
        checked({"block_mse": np.zeros((2, 2))})


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (np.zeros((2, 4)), "not texts"),
        (np.full((2, 5), "x"), "not texts"),
        (np.full((3, 4, 1), "x"), "not texts"),
        (np.full((2, 4), b"x"), "not texts"),
    ],
)
def test_times_of_another_kind_are_refused(times, told):
    windows = {"example_targets": np.zeros((2, 4, 1)), "example_output": np.zeros((2, 4, 1))}
    with pytest.raises(ValueError, match=told):
        checked({**windows, "example_times": times})


def test_packing_again_adds_to_what_is_packed_and_a_loose_record_comes_first(packed):
    newer = replace(RECORDS[1], metrics={"mse": 0.5})
    with store.opened(packed):
        store.save(packed, newer, arrays_of(1))
        store.save(packed, record_of(7), arrays_of(7))
        assert len(store.load(packed)) == 7
        store.pack(packed)
    shutil.rmtree(packed / "cells")
    found = {record.cell.seed: record.metrics["mse"] for record in store.read(packed)}
    assert len(store.load(packed)) == 7
    assert found[1] == 0.5


def test_a_damaged_file_is_named_and_its_cells_are_missing(packed):
    path = packed / "packed" / "sines.npz"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.warns(UserWarning, match=r"sines\.npz is not whole"):
        assert len(store.load(packed)) == 2


def test_an_array_that_is_lost_or_renamed_is_found(packed):
    """As by a flipped bit in the directory of the archive."""
    path = packed / "packed" / "sines.npz"
    with np.load(path) as file:
        held = dict(file)
    for change in (
        {"history_mse": None},
        {"history_mse": None, "history_mre": held["history_mse"]},
        {"example_output": held["example_output"] * 2},
    ):
        kept = {key: array for key, array in (held | change).items() if array is not None}
        with path.open("wb") as file:
            np.savez(file, **kept)
        store._unpacked.cache_clear()
        with pytest.warns(UserWarning, match=r"sines\.npz is not whole .*checksum"):
            assert len(store.read(packed)) == 2


def test_an_id_in_a_packed_file_is_not_believed(packed):
    path = packed / "packed" / "sines.npz"
    with np.load(path) as file:
        held = dict(file)
    head, *lines = lzma.decompress(held["records"].tobytes()).split(b"\n")
    records = [{**json.loads(line), "id": "../../precious"} for line in lines]
    as_now = b"\n".join([head, *(json.dumps(record).encode() for record in records)])
    as_older_versions = json.dumps(records).encode()
    for text in (as_now, as_older_versions):
        np.savez(path, **{**held, "records": np.frombuffer(lzma.compress(text), np.uint8)})
        assert {record.id for record in store.read(packed)} == {record.id for record in RECORDS}


def test_nothing_is_packed_over_a_damaged_file(packed, capsys):
    path = packed / "packed" / "sines.npz"
    path.write_bytes(cut := path.read_bytes()[:-40])
    with pytest.warns(UserWarning, match=r"sines\.npz is not whole"):
        assert archive.main([str(packed)]) == 1
    assert "sines.npz is not whole, and nothing is packed over it" in capsys.readouterr().err
    assert path.read_bytes() == cut


def test_a_stale_packed_record_says_which_file_to_delete(packed):
    with pytest.raises(UsageError, match=r"sines has stale records in .*packed: delete its file"):
        store.check_loose(packed, RECORDS[:1])


def test_the_command(folder, tmp_path, capsys):
    assert archive.main([str(folder)]) == 0
    assert "sines.npz: " in capsys.readouterr().out
    assert archive.main([str(tmp_path / "absent")]) == 2
    assert "holds no sweep" in capsys.readouterr().err
