"""A folder that somebody else filled, or that a disk has spoiled: nothing outside it is touched,
and nothing in it is lost."""

import csv
import errno
import hashlib
import io
import json
import lzma
import os
import pickle
import random
import re
import shutil
import tracemalloc
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from experiments import archive, console, files, packed, report, store
from experiments.cells import Record, canonical
from experiments.figures import draw
from experiments.figures.style import short
from experiments.files import StorageError
from experiments.page import build, render
from experiments.usage import UsageError
from tests.experiments import folders, written
from tests.experiments.folders import (
    CELLS,
    EPOCHS,
    PACKED,
    arrays_of,
    contents,
    found_in,
    same,
    told_by,
)


@pytest.fixture
def undrawn(monkeypatch):
    """Drawing takes longer than all else."""
    monkeypatch.setattr(draw, "draw_all", lambda folder, found: None)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return folders.make(tmp_path_factory.mktemp("attacks") / "sweep")


@pytest.fixture
def folder(original, tmp_path):
    return Path(shutil.copytree(original, tmp_path / "sweep"))


def loose(folder):
    return sorted((folder / "cells").glob("*.json"))


# Links and other things that are no plain files.


@pytest.mark.parametrize("name", ["cells", "packed", "figures", "tables"])
@pytest.mark.usefixtures("undrawn")
def test_a_folder_that_is_a_link_is_not_used(tmp_path, name, capsys):
    paper = tmp_path / "paper"
    paper.mkdir()
    (paper / f"{'0' * 64}.json").write_text("{}")
    (paper / ".mine.1.tmp").write_text("mine")
    written.figure(paper / "secret.png")
    folder = written.save(tmp_path / "sweep", written.sweep(["wind"], seeds=1))
    if name == "cells":
        (folder / "cells").rename(tmp_path / "cells")
    (folder / name).symlink_to(paper)
    before = contents(paper)
    for command in (report, archive):
        assert command.main([str(folder)]) == 1
        assert f"{folder / name} is a link" in capsys.readouterr().err
        assert contents(paper) == before


def test_a_sweeps_folder_may_be_a_link_itself(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert store.read(tmp_path / "link") == store.read(folder)
    with store.opened(tmp_path / "link"):
        assert len(store.pack(tmp_path / "link")) == 2


@pytest.mark.usefixtures("undrawn")
def test_files_that_are_links_are_not_read(folder, tmp_path):
    records, secret = store.read(folder), tmp_path / "secret"
    for name in ("figures/stolen.png", "manifest.json", "figures/captions.json", "packed/x.npz"):
        path = folder / name
        target = secret / path.name
        secret.mkdir(exist_ok=True)
        target.write_bytes((folder / "figures" / "a.png").read_bytes())
        path.unlink(missing_ok=True)
        path.symlink_to(target)
    path = loose(folder)[0]
    path.rename(secret / path.name)
    path.symlink_to(secret / path.name)
    before = contents(secret)
    _, told = told_by(build.build, folder)
    for name in (path.name, "x.npz", "manifest.json"):
        assert [one for one in told if name in one]
    assert "stolen" not in (folder / "report.html").read_text()
    with store.opened(folder):
        assert len(told_by(store.read, folder, set_aside=True)[0]) == len(records) - 1
    assert contents(secret) == before
    assert (folder / "cells" / f"{path.name}.damaged").is_symlink()


def test_a_lock_and_half_written_files_that_are_links_are_not_followed(folder, tmp_path):
    thesis = tmp_path / "thesis.docx"
    thesis.write_text("years of work")
    for name in ("manifest.json", "summary.csv", "cells/.writable", ".owner.json"):
        path = folder / name
        path.with_name(f".{path.name}.{os.getpid()}.tmp").symlink_to(thesis)
    with store.opened(folder):
        store.write_manifest(folder, store.read_manifest(folder))
    build.build(folder, with_figures=False)
    (folder / ".lock").unlink()
    (folder / ".lock").symlink_to(thesis)
    with pytest.raises(StorageError, match=r"\.lock is a link"), store.opened(folder):
        pass
    assert thesis.read_text() == "years of work"


def test_a_pipe_or_a_folder_in_a_files_place_is_not_waited_for(folder):
    path = loose(folder)[0]
    path.unlink()
    os.mkfifo(path)
    (folder / "packed" / "folder.npz").mkdir()
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    os.mkfifo(folder / ".owner.json")
    records, _, told = found_in(folder)
    assert len(records) == CELLS - 1
    assert len([one for one in told if "it is a link, or no file" in one]) == 2
    with pytest.warns(UserWarning, match=r"manifest\.json is not whole"):
        assert store.read_manifest(folder) == {}


# Names.


@pytest.mark.usefixtures("undrawn")
def test_a_backbone_is_no_path(folder, tmp_path):
    """It stands in names of tables, and a folder can hold a way out for it."""
    record = written.record("clip", "wind", "x/../../../out")
    (folder / "tables" / "metrics-wind-x").mkdir()
    (folder / "cells" / f"{record.id}.json").write_text(json.dumps(record.to_json()))
    with pytest.warns(UserWarning, match="config.backbone is not what a record has there"):
        build.build(folder)
    assert not list(tmp_path.rglob("out*"))
    with pytest.raises(StorageError, match="cannot hold a file of the name"):
        files.write_made(folder / "tables", {"../out.csv": b""})


def test_what_is_not_a_sweeps_by_name_is_never_renamed_or_deleted(folder):
    mine = [folder / "cells" / "notes.json", folder / "cells" / ".draft.tmp", folder / ".x.tmp"]
    for path in mine:
        path.write_text("mine")
    (folder / ".folder.1.tmp").mkdir()
    with store.opened(folder), pytest.warns(UserWarning, match="notes.json is not a whole record"):
        store.read(folder, set_aside=True)
    assert all(path.read_text() == "mine" for path in mine)
    assert (folder / ".folder.1.tmp").is_dir()


@pytest.mark.parametrize("inner", ["cells/slide.json", "packed/notes.txt"])
@pytest.mark.usefixtures("undrawn")
def test_a_folder_with_a_cells_folder_of_its_own_is_no_sweep(tmp_path, inner, capsys):
    paper = tmp_path / "paper"
    (paper / inner).parent.mkdir(parents=True)
    (paper / inner).write_text("{}")
    (paper / "summary.csv").write_text("mine")
    (paper / "manifest.json").write_text('{"name": "an app"}')
    before = contents(paper)
    assert report.main([str(paper)]) == 2
    assert archive.main([str(paper)]) == 2
    assert "holds no sweep" in capsys.readouterr().err
    with pytest.raises(UsageError, match="is not empty and holds no sweep"), store.opened(paper):
        pass
    assert contents(paper) == before


# Reads that fail.


@pytest.mark.parametrize("error", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize(
    "name",
    [
        "manifest.json",
        "packed/wind.npz",
        "figures/captions.json",
        "figures/a.png",
        "tables/made.json",
        "cells",
        "packed",
        "figures",
        "",
        "loose",
    ],
)
@pytest.mark.usefixtures("undrawn")
def test_a_read_that_fails_ends_the_report_with_all_as_it_was(
    folder, monkeypatch, capsys, error, name
):
    failing = loose(folder)[0] if name == "loose" else folder / name
    before = contents(folder)
    originals = Path.read_bytes, Path.iterdir, Path.lstat

    def failing_at(original):
        def call(path, *arguments):
            if path == failing:
                raise OSError(error, os.strerror(error))
            return original(path, *arguments)

        return call

    store._unpacked.cache_clear()
    with monkeypatch.context() as patch:
        for original in originals[:2]:
            patch.setattr(Path, original.__name__, failing_at(original))
        assert report.main([str(folder)]) == 1
    told = capsys.readouterr().err
    assert f"{failing} cannot be read: {os.strerror(error)}" in told
    after = contents(folder)
    derived = {path for path in after if path.suffix in (".csv", ".html")}
    assert after.keys() == before.keys()
    assert all(after[path] == before[path] for path in before.keys() - derived)
    page = folder / "report.html"
    assert after[page] == before[page]


def test_a_manifest_that_cannot_be_read_is_not_set_aside(folder, monkeypatch):
    def fail(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(StorageError, match=r"manifest\.json cannot be read"):
        store.set_manifest_aside(folder)
    assert (folder / "manifest.json").exists()


def test_too_little_memory_is_no_damage(folder, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    store._unpacked.cache_clear()
    with pytest.raises(MemoryError):
        store.read(folder)


# What is set aside.


def test_a_damaged_records_arrays_are_set_aside_with_it(folder):
    path = loose(folder)[0]
    arrays = path.with_suffix(".npz").read_bytes()
    path.write_text("{")
    with store.opened(folder), pytest.warns(UserWarning, match="set aside as"):
        store.read(folder, set_aside=True)
    assert Path(f"{path.with_suffix('.npz')}.damaged").read_bytes() == arrays


def test_a_record_and_its_arrays_are_set_aside_under_one_number(folder):
    record = next(one for one in store.read(folder) if one.cell.dataset == "flights")
    path = folder / "cells" / f"{record.id}.json"
    Path(f"{path}.stale").write_text("an older one, without arrays")
    store.set_aside(folder, record)
    assert Path(f"{path}.stale").read_text() == "an older one, without arrays"
    assert Path(f"{path}.stale-2").exists()
    assert Path(f"{path.with_suffix('.npz')}.stale-2").exists()


def test_setting_aside_that_breaks_off_loses_nothing(folder, monkeypatch):
    record = next(one for one in store.read(folder) if one.cell.dataset == "flights")
    path = folder / "cells" / f"{record.id}.json"
    arrays, rename = path.with_suffix(".npz").read_bytes(), Path.rename

    def killed(one, other):
        if one.suffix == ".json":
            raise KeyboardInterrupt
        return rename(one, other)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.set_aside(folder, record)
    with store.opened(folder), pytest.warns(UserWarning, match="not a whole record"):
        store.read(folder, set_aside=True)
    store.save(folder, record, {})
    assert Path(f"{path.with_suffix('.npz')}.stale").read_bytes() == arrays


@pytest.mark.parametrize("place", ["", "cells", "packed", "figures", "tables"])
def test_what_a_killed_command_left_half_written_is_removed(folder, place):
    leftover = folder / place / ".x.npz.4242.tmp"
    leftover.write_text("half")
    with store.opened(folder):
        assert not leftover.exists()


# The manifest.


def test_no_flipped_bit_of_a_manifest_goes_unnoticed(folder):
    path = folder / "manifest.json"
    whole, expected = path.read_bytes(), store.read_manifest(folder)
    generator = np.random.default_rng(0)
    for place in generator.integers(8 * len(whole), size=300):
        spoiled = bytearray(whole)
        spoiled[place // 8] ^= 1 << place % 8
        path.write_bytes(spoiled)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = store.read_manifest(folder)
        # The word sha256 itself may be another: then nothing is known of the rest, which stands.
        assert found == {} if caught else expected.items() <= found.items()
    path.write_bytes(spoiled)
    assert store.set_manifest_aside(folder).read_bytes() == spoiled


@pytest.mark.usefixtures("undrawn")
def test_a_report_says_that_a_manifest_is_not_whole(folder):
    (folder / "manifest.json").write_bytes(b"{")
    with pytest.warns(UserWarning, match=r"manifest\.json is not whole"):
        build.build(folder)
    assert "Not whole, and counts as missing: manifest.json" in (folder / "report.html").read_text()


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


def test_a_plan_of_many_seeds_takes_no_memory(folder):
    whole = store.read_manifest(folder)
    store.write_manifest(folder, changed(whole, ("plan", "seeds"), 10**9))
    build.build(folder, with_figures=False)


# Records.


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
    whole = replace(whole, fingerprint={"strategy": "0", "versions": {"jax": "1"}}).to_json()
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
        {"example_output": np.ones((2, 4, 1)), "example_targets": np.full((2, 4, 1), np.nan)},
    ]
    for arrays in odd:
        store.save(folder, record, arrays)
        with pytest.warns(UserWarning, match=f"{record.id}.npz does not hold arrays of a record"):
            assert store.arrays_of(folder, [record]) == {record.id: {}}
        with pytest.raises(StorageError, match="move it away"):
            store.pack(folder)


def test_a_figure_shows_windows_of_one_version_of_the_data(folder):
    """Of two, neither stands beside the other's outputs."""
    base = [one for one in store.read(folder) if one.cell.dataset == "flights"]
    clip = next(one for one in base if one.cell.strategy == "clip" and one.cell.seed == 0)
    found, arrays = [], {}
    for name, version in (("a", "4"), ("b", "5"), ("c", "5")):
        cell = replace(clip.cell, strategy=name, data_hash=version)
        found.append(Record(cell, metrics=clip.metrics))
        arrays[found[-1].id] = arrays_of(0, (2, int(version), 1))
    sketch = draw._example("flights", clip.cell.backbone, found, arrays)
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
    content = bytearray(zipped({"a.npy": npy(np.zeros(64 * SMALL, np.uint8))}))
    size = (64 * SMALL + 128).to_bytes(4, "little")
    small = npy(np.zeros(1000, np.uint8))
    return bytes(content).replace(size, len(small).to_bytes(4, "little"))


def of_records(text):
    held = {"records": np.frombuffer(lzma.compress(text, preset=0), np.uint8)}
    buffer = io.BytesIO()
    np.savez(buffer, **held)
    return buffer.getvalue()


BOMBS = {
    "zeros": lambda: zipped({"a.npy": npy(np.zeros(64 * SMALL, np.uint8))}),
    "many": lambda: zipped({f"{n}.npy": npy(np.zeros(SMALL, np.uint8)) for n in range(64)}),
    "lying": lying,
    "room": lambda: zipped({"a.npy": npy(np.zeros(10, np.uint8), (64 * SMALL,))}),
    "no array": lambda: zipped({"a.txt": b"\0" * 64 * SMALL}),
    "large": lambda: b"\0" * 3 * SMALL,
}
OF_ARRAYS = list(BOMBS)
BOMBS |= {
    "text": lambda: of_records(b" " * 64 * SMALL),
    "one record": lambda: of_records(b'{"checksum": ""}\n' + b"[" + b"[]," * SMALL + b"[]]"),
    "old text": lambda: of_records(b"[" + b"[]," * SMALL + b"[]]"),
    "deep": lambda: of_records(b"[" * SMALL),
}


@pytest.mark.parametrize(
    ("bomb", "ending"),
    [(bomb, "npz") for bomb in BOMBS] + [(bomb, "loose npz") for bomb in OF_ARRAYS],
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


# Pictures.


def png(size, **more):
    buffer = io.BytesIO()
    Image.new("1", size).save(buffer, "PNG", **more)
    return buffer.getvalue()


def with_text():
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("x", "\0" * 100_000_000, zip=True)
    return png((10, 10), pnginfo=info)


PICTURES = {
    "huge": lambda: png((20_000, 20_000)),
    "beyond what Pillow opens": lambda: png((20_000, 10_000)),
    "a bomb of text": with_text,
    "PostScript, which another program is run for": lambda: (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    ),
    "cut": lambda: png((10, 10))[:40],
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.usefixtures("undrawn")
def test_a_picture_that_is_no_figure_of_a_sweep_is_not_shown(folder, kind):
    (folder / "figures" / "a.png").write_bytes(PICTURES[kind]())
    (folder / "figures" / "b.png").write_bytes(PICTURES[kind]())
    (picture,) = render.pictures(folder)
    assert (picture.name, picture.source) == ("a.png", "")
    build.build(folder)
    assert 'href="figures/a.png"' in (folder / "report.html").read_text()


# Text.

FORMULA = '=HYPERLINK("http://x")'
FORMULAS = [FORMULA, "+1", "-1+1", "@SUM(1)", "\t=1", "＝1"]


@pytest.mark.usefixtures("undrawn")
def test_no_cell_of_a_csv_file_is_a_formula(folder):
    for name in [*FORMULAS, "x\r=1"]:  # whose second line would be a row
        for record in written.sweep([name], (name, "clip"), seeds=1):
            store.save(folder, record, {})
        store.save(folder, written.record(name, "wind", error=name), {})
    build.build(folder)
    seen = set()
    for path in [folder / "summary.csv", *(folder / "tables").glob("*.csv")]:
        with path.open(newline="") as file:
            for entry in (entry for row in csv.reader(file) for entry in row):
                seen.add(entry)
                if entry.startswith(("=", "+", "-", "@", "\t", "\r")):
                    float(entry)
    assert {f"'{name}" for name in FORMULAS} <= seen


def test_nothing_that_steers_a_terminal_is_printed(folder, capsys):
    name = "\x1b[2J\x9b1m\u202egnp.exe\x07"
    for record in written.sweep([name], (name, "clip"), seeds=1):
        store.save(folder, record, {})
    (folder / "cells" / "\x1b[2J.json").write_text("{")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draw, "draw_all", lambda folder, found: None)
        patch.setattr(warnings, "formatwarning", warnings.formatwarning)
        console.say_warnings()
        shown = io.StringIO()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert report.main([str(folder), "--latex"]) == 0
        for one in caught:
            shown.write(warnings.formatwarning(one.message, one.category, "", 0))
    console.say(Console(file=shown, force_terminal=False), f"failed {name}: {name}")
    printed = capsys.readouterr()
    text = printed.out + printed.err + shown.getvalue()
    assert "\\x1b[2J" in text
    for path in [folder / "report.html", *(folder / "tables").glob("*.tex")]:
        text += path.read_text(encoding="utf-8")
    assert not set(text) & set("\x1b\x9b\u202e\x07")


def test_a_strategy_of_any_name_is_in_the_legend():
    assert short("mine:_private") == "…_private"
    assert short("mine:\x1b\n[2J") == "\\x1b [2J"


def test_every_promise_names_a_test_that_is_there():
    root = Path(__file__).parents[2]
    text = (root / "docs" / "results_folder.md").read_text(encoding="utf-8")
    sources = "".join(path.read_text(encoding="utf-8") for path in root.rglob("tests/**/test_*.py"))
    files_named = set(re.findall(r"`((?:\w+/)?test_\w+\.py)`", text))
    tests_named = set(re.findall(r"`(test_\w+)`", text))
    assert len(files_named) > 4
    assert len(tests_named) > 15
    assert all((root / "tests" / "experiments" / name).exists() for name in files_named)
    assert not [name for name in tests_named if f"def {name}(" not in sources]
