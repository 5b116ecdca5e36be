"""What a folder's files hold, whoever wrote it: odd fields, packed records, bombs."""

import hashlib
import io
import json
import lzma
import os
import pickle
import random
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import archive, files, packed, report, store
from experiments.analysis import study
from experiments.cells import Record, canonical
from experiments.figures import draw, training_curves
from experiments.files import StorageError
from experiments.page import build
from experiments.usage import UsageError
from tests.experiments import written
from tests.experiments.results_folder.whole import (
    CELLS,
    EPOCHS,
    PACKED,
    arrays_of,
    found_in,
    same,
    told_by,
)
from tests.sampled import sampled


def loose(folder):
    return sorted((folder / "cells").glob("*.json"))


def leaves(value, place=()):
    """Where the values of JSON are, lists and objects too."""
    yield place
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value[:1]) if isinstance(value, list) else inner
    for key, one in inner:
        yield from leaves(one, (*place, key))


def changed(value, place, new):
    if not place:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[place[0]] = changed(copy[place[0]], place[1:], new)
    return copy


ODD = [None, "", "x\x1b[2J\n", "\ud800", -1, 2**40, 10**400, 1.5, True, [], {}, [[]], {"x": []}]


@pytest.mark.usefixtures("undrawn")
def test_a_manifest_with_odd_inner_fields_breaks_no_report(folder):
    whole, path, taken = store.read_manifest(folder), folder / "manifest.json", []
    for place in leaves(whole):
        for odd in ODD:
            path.write_text(json.dumps(changed(whole, place, odd)))
            if not store.has_damaged_manifest(folder):
                taken.append(path.read_text())
    assert len(taken) > 100
    for text in random.Random(0).sample(taken, 8):
        path.write_text(text)
        build.build(folder)


# Records.

FINGERPRINT = {"strategy": "0", "versions": {"jax": "1"}, "settings": {"jax_enable_x64": "True"}}


def forged(found):
    """A record's JSON with the id that its configuration would have."""
    identity = hashlib.sha256(canonical(found["config"]).encode()).hexdigest()
    return {**found, "id": identity}


def write_forged(folder, found):
    found = forged(found)
    (folder / "cells" / f"{found['id']}.json").write_text(json.dumps(found))


@pytest.mark.parametrize("drawn", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_records_with_odd_inner_fields_are_named_or_harmless(folder, capsys, monkeypatch, drawn):
    if not drawn:
        monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)
    whole = next(one for one in store.read(folder) if one.cell.strategy == "clip")
    whole = replace(whole, fingerprint=FINGERPRINT).to_json()
    whole["config"]["strategy"] |= {"hyperparameters": {"slope": 0.1}, "bounds": {"upper": "data"}}
    whole["timing"] = {"train_seconds": 1.0, "devices": 2}
    before, seed = len(store.read(folder)), 10
    for place in list(leaves(whole)):
        for odd in ODD:
            found = changed(whole, place, odd) if place else {}
            if place[:1] != ("config",):
                seed += 1
                found["config"] = {**whole["config"], "seed": seed}
            write_forged(folder, found)
    written_now = len(loose(folder))
    records, told = told_by(store.read, folder)
    assert all("is not a whole record" in one for one in told)
    assert len({one for one in told if "has there" in one}) > 100
    assert len(records) > before
    assert len(records) + len(told) == written_now + PACKED
    assert told_by(report.main, [str(folder), "--latex"])[0] == 0
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "\\x1b[2J" in printed.out
    assert "\x1b" not in (folder / "report.html").read_text(encoding="utf-8")


def test_arrays_that_are_not_a_cells_are_left_out_of_figures_and_not_packed(folder):
    record = next(one for one in store.read(folder) if one.cell.dataset == "flights")
    odd = [
        {"history_epoch": EPOCHS, "history_mse": np.ones((3, 2))},
        {"history_epoch": EPOCHS, "history_mse": np.ones(2)},
        {"history_epoch": np.array(["x"])},
        {"example_output": np.ones((2, 4))},
        {"example_output": np.ones((2, 4, 1)), "example_targets": np.ones((2, 5, 1))},
        {"example_output": np.ones((0, 4, 1)), "example_targets": np.ones((0, 4, 1))},
        {"example_output": np.ones((2, 4, 1)), "example_targets": np.full((2, 4, 1), np.inf)},
        {"example_output": np.ones((2, 4, 1)), "example_times": np.ones((2, 4))},
        {"example_output": np.ones((2, 4, 1)), "example_times": np.full((2, 5), "x")},
        {"example_output": np.ones((2, 4, 1)), "example_inputs": np.full((2, 9, 1), np.nan)},
        {"example_output": np.ones((2, 4, 3)), "example_targets": np.ones((2, 4, 1))},
        {"example_output": np.ones((2, 4, 1)), "example_upper": np.full((2, 4, 1), 1e300)},
        {"example_output": np.ones((2, 4, 1), bool)},
        {"history_epoch": EPOCHS, "history_blocked_fraction": EPOCHS * np.inf},
    ]
    for arrays in odd:
        store.save(folder, record, arrays)
        with pytest.warns(UserWarning, match=f"{record.id}.npz does not hold arrays of a record"):
            assert store.arrays_of(folder, [record]) == {record.id: {}}
        with pytest.raises(StorageError, match="move it away"):
            store.pack(folder)


ODD_VALUES = {
    "history": (np.nan, np.inf, -np.inf, -1.0, 0.0, 1e140),
    "example_output": (np.nan, np.inf, -1e140),
    "example_upper": (np.nan, np.inf, -np.inf),
    "example_targets": (np.nan,),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_that_runs_can_end_with_are_drawn_and_packed(tmp_path):
    for number, (start, value) in enumerate(
        (start, value) for start, values in ODD_VALUES.items() for value in values
    ):
        arrays = {
            name: np.full(array.shape, value) if name.startswith(start) else array
            for name, array in arrays_of(0).items()
            if name not in packed.SHARES or np.isnan(value) or value == 0
        }
        arrays |= {"history_epoch": EPOCHS}
        folder = tmp_path / str(number)
        with store.opened(folder):
            for record in written.sweep(["wind"], ("clip",), ("bottleneck",), seeds=1):
                store.save(folder, record, arrays)
            store.pack(folder)
        (found,) = store.read(folder)
        of = study.read({}, [found])
        found_arrays = store.arrays_of(folder, [found])
        (histories,) = training_curves.histories([found], found_arrays).values()
        assert training_curves.training_curves(of, "wind", histories)
        assert draw.example(of, "wind", "bottleneck", [found], found_arrays)


def test_a_figure_shows_windows_of_one_version_of_the_data(folder):
    """Of two, neither stands beside the other's outputs."""
    base = [one for one in store.read(folder) if one.cell.dataset == "flights"]
    clip = next(one for one in base if one.cell.strategy == "clip" and one.cell.seed == 0)
    found, arrays = [], {}
    for name, version in (("a", "4"), ("b", "5"), ("c", "5")):
        cell = replace(clip.cell, strategy=name, data_hash=version)
        found.append(Record(cell, metrics=clip.metrics))
        arrays[found[-1].id] = arrays_of(0, (2, int(version), 1))
    sketch = draw.example(study.read({}, []), "flights", clip.cell.backbone, found, arrays)
    titles = [axes.get_title() for axes in sketch.figure.axes]
    assert titles == ["b", "c"]


# Packed files.


def test_packing_keeps_each_version_of_the_data_with_its_own_windows(folder):
    clip = next(
        one for one in store.read(folder) if one.cell.seed == 0 and one.cell.strategy == "clip"
    )
    expected = {}
    for number, (shape, level) in enumerate(
        [((2, 4, 1), 0.25), ((2, 4, 1), 0.75), ((2, 6, 3), 0.5), ((2, 4, 1), 0.75)]
    ):
        cell = replace(clip.cell, strategy=f"s{number}", data_hash=f"{shape} {level}")
        arrays = arrays_of(0, shape, level)
        if number == 3:
            arrays = {key: a[:2] if key.startswith("history") else a for key, a in arrays.items()}
        store.save(folder, record := Record(cell, metrics=clip.metrics), arrays)
        expected[record.id] = arrays
    for _ in range(2):
        store.pack(folder)
        for path in (folder / "cells").iterdir():
            path.unlink()
        assert same(
            store.arrays_of(folder, [r for r in store.read(folder) if r.id in expected]), expected
        )


def older(content):
    """A packed file as versions wrote it that kept no checksum."""
    held = files.read_arrays(content)
    lines = lzma.decompress(held["records"].tobytes()).split(b"\n")[1:]
    text = b"[" + b",".join(lines) + b"]"
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{**held, "records": np.frombuffer(lzma.compress(text), np.uint8)})
    return buffer.getvalue()


@pytest.mark.parametrize("version", ["now", "older"])
def test_no_flipped_bit_in_the_directory_of_a_packed_file_drops_arrays(folder, version):
    path = folder / "packed" / "wind.npz"
    if version == "older":
        path.write_bytes(older(path.read_bytes()))
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive_file:
        start = archive_file.start_dir
    silent = 0

    def content_of(packed_file):
        found = packed.unpack(files.read_arrays(packed_file))
        return [record for record, _ in found], {record.id: held for record, held in found}

    records, arrays = content_of(whole)
    # Every bit of where the directory says how long a name, an extra field and a comment are.
    lengths = [
        place
        for entry in range(start, len(whole) - 22)
        if whole[entry : entry + 4] == b"PK\x01\x02"
        for place in range(8 * (entry + 28), 8 * (entry + 34))
    ]
    others = np.random.default_rng(0).integers(8 * start, 8 * len(whole), size=200)
    for place in [*lengths, *others]:
        spoiled = bytearray(whole)
        spoiled[place // 8] ^= 1 << place % 8
        try:
            now, arrays_now = content_of(bytes(spoiled))
        except ValueError:
            continue
        assert now == records
        assert same(arrays_now, arrays)
        silent += 1
    assert silent < 150, "a date, say, of which nothing is made"


def test_a_name_of_forty_cyrillic_letters_is_packed(folder):
    names = ["ж" * 39 + end for end in "аб"]
    for name in names:
        store.save(folder, written.record("clip", name), arrays_of(0))
    before = store.load(folder)
    paths = store.pack(folder)
    assert len({path.name for path in paths}) == 4
    assert max(len(os.fsencode(path.name)) for path in paths) < 220
    for path in (folder / "cells").iterdir():
        path.unlink()
    assert store.load(folder) == before


def test_what_is_packed_is_read_again_before_it_is_said_to_be(folder, monkeypatch, capsys):
    monkeypatch.setattr(store, "_packed_name", lambda dataset: "wind.npz")
    assert archive.main([str(folder)]) == 1
    assert "5 packed records cannot be read again: keep cells/" in capsys.readouterr().err


def test_a_stale_record_in_a_packed_file_names_the_file(folder):
    record = next(one for one in store.read(folder) if one.cell.dataset == "wind")
    (folder / "packed" / "wind.npz").rename(folder / "packed" / "other.npz")
    with pytest.raises(UsageError, match=r"delete its file there, other\.npz"):
        store.check_loose(folder, [record])


# Bombs.

SMALL = 1 << 20


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for name, content in members.items():
            archive_file.writestr(name, content)
    return buffer.getvalue()


def npy(array, shape=None):
    buffer = io.BytesIO()
    np.save(buffer, array)
    content = buffer.getvalue()
    if shape:  # the header is padded to 128 bytes
        text = content[:128].replace(str(array.shape).encode(), str(shape).encode())
        content = text.replace(b" " * (len(text) - 127), b" ", 1)[:127] + b"\n" + content[128:]
    return content


def lying():
    """An archive that says of its member that it is small."""
    content = bytearray(zipped({"a.npy": npy(np.zeros(32 * SMALL, np.uint8))}))
    size = (32 * SMALL + 128).to_bytes(4, "little")
    small = npy(np.zeros(1000, np.uint8))
    return bytes(content).replace(size, len(small).to_bytes(4, "little"))


def of_records(text):
    held = {"records": np.frombuffer(lzma.compress(text, preset=0), np.uint8)}
    buffer = io.BytesIO()
    np.savez(buffer, **held)
    return buffer.getvalue()


BOMBS = {
    "zeros": lambda: zipped({"a.npy": npy(np.zeros(32 * SMALL, np.uint8))}),
    "many": lambda: zipped({f"{n}.npy": npy(np.zeros(SMALL, np.uint8)) for n in range(32)}),
    "lying": lying,
    "room": lambda: zipped({"a.npy": npy(np.zeros(10, np.uint8), (32 * SMALL,))}),
    "no array": lambda: zipped({"a.txt": b"\0" * 32 * SMALL}),
    "large": lambda: b"\0" * 3 * SMALL,
}
OF_ARRAYS = list(BOMBS)
BOMBS |= {
    "text": lambda: of_records(b" " * 32 * SMALL),
    "one record": lambda: of_records(b'{"checksum": ""}\n' + b"[" + b"[]," * SMALL + b"[]]"),
    "old text": lambda: of_records(b"[" + b"[]," * SMALL + b"[]]"),
    "deep": lambda: of_records(b"[" * SMALL),
}


@pytest.mark.parametrize(
    ("bomb", "ending"),
    sampled(
        [(bomb, "npz") for bomb in BOMBS] + [(bomb, "loose npz") for bomb in OF_ARRAYS],
        lambda given: given[1] == "npz" or given[0] in ("lying", "large"),
    ),
)
def test_bombs_are_named_and_take_no_memory(folder, monkeypatch, bomb, ending):
    monkeypatch.setattr(files, "MOST_BYTES", 2 * SMALL)
    monkeypatch.setattr(files.read_bytes, "__defaults__", (2 * SMALL,))
    monkeypatch.setattr(files.parse, "__defaults__", (SMALL,))
    monkeypatch.setattr(packed, "MOST_TEXT", 2 * SMALL + (bomb == "one record") * 2 * SMALL)
    content = BOMBS[bomb]()
    path = folder / "packed" / "x.npz"
    if ending == "loose npz":
        record = written.record("clip", "wind", seed=77)
        (folder / "cells" / f"{record.id}.json").write_text(json.dumps(record.to_json()))
        path = folder / "cells" / f"{record.id}.npz"
    path.write_bytes(content)
    del content
    (folder / "packed" / "wind.npz").unlink()  # lzma takes 64 MB for any file that is packed
    tracemalloc.start()
    try:
        records, _, told = found_in(folder)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [one for one in told if path.name in one]
    assert len(records) == CELLS - PACKED + (ending == "loose npz")
    assert peak < 16 * SMALL


def test_a_record_that_is_too_long_is_named(folder):
    record = written.record("clip", "wind", seed=77, error="x" * 2 * SMALL)
    (folder / "cells" / f"{record.id}.json").write_text(json.dumps(record.to_json()))
    with pytest.warns(UserWarning, match="bytes, and 1048576 at most are read"):
        assert len(store.read(folder)) == CELLS


def test_what_is_too_large_to_be_read_is_not_written(folder, monkeypatch):
    record = written.record("clip", "wind", seed=77, error="x" * 2 * SMALL)
    store.save(folder, record, {})
    (kept,) = (one for one in store.read(folder) if one.cell.seed == 77)
    assert kept.error == "x" * store.MOST_ERROR
    monkeypatch.setattr(files, "MOST_BYTES", 1000)
    with pytest.raises(StorageError, match="would hold 8000 bytes, more than are read again"):
        store.save(folder, record, {"history_epoch": np.arange(1000)})
    monkeypatch.setattr(packed, "MOST_TEXT", 1000)
    with pytest.raises(StorageError, match="2 records of wind are too many"):
        packed.pack([(kept, {}), (kept, {})])


def test_pickles_are_not_opened(folder, tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "opened",)

    path = folder / "packed" / "wind.npz"
    np.savez(path, records=np.array([Bomb()], object))
    _, _, told = found_in(folder)
    assert "allow_pickle=False" in told[0]
    path.write_bytes(zipped({"records.npy": pickle.dumps(Bomb())}))
    assert "wind.npz is not whole" in found_in(folder)[2][0]
    assert not (tmp_path / "opened").exists()
