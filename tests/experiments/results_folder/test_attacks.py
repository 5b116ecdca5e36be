"""A folder that somebody else filled, or that a disk has spoiled: nothing outside it is touched,
and nothing in it is lost."""

import errno
import json
import os
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from experiments import archive, files, report, store
from experiments.figures import captions
from experiments.files import StorageError
from experiments.page import build
from experiments.usage import UsageError
from tests.experiments import written
from tests.experiments.results_folder.whole import (
    CELLS,
    contents,
    found_in,
    told_by,
)


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


ODD_NAMES = ["\ud800.png", "\x00.png", "x" * 300 + ".png", "a\\b.png", "\x1b[2J.png", "è" * 200]


@pytest.mark.usefixtures("undrawn")
def test_odd_names_of_figures_and_tables_break_no_report(folder):
    said = {name: {"title": name, "caption": name} for name in ODD_NAMES}
    (folder / "figures" / "captions.json").write_text(json.dumps({"figures": said}))
    (folder / "tables" / "made.json").write_text(json.dumps([*ODD_NAMES, {}, None]))
    written.figure(folder / "figures" / os.fsdecode(b"\xff.png"))
    build.build(folder)
    captions.keep(folder, (), [])
    assert (folder / "figures" / "a.png").exists()


def test_only_what_a_sweep_makes_is_deleted_by_name(folder, tmp_path):
    mine = [folder / "figures" / "photo.jpg", folder / "tables" / "thesis.docx"]
    for path in mine:
        path.write_text("mine")
    said = {"photo.jpg": {"title": "", "caption": ""}}
    (folder / "figures" / "captions.json").write_text(json.dumps({"figures": said}))
    (folder / "tables" / "made.json").write_text(json.dumps(["thesis.docx"]))
    captions.keep(folder, (), [])
    build.build(folder, with_figures=False)
    assert all(path.read_text() == "mine" for path in mine)
    shutil.rmtree(folder / "figures")
    (tmp_path / "captions.json").write_text(json.dumps({"figures": said}))
    (folder / "figures").symlink_to(tmp_path)
    captions.keep(folder, (), [])
    assert captions.read(folder) == {}
    assert (tmp_path / "captions.json").exists()


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


@pytest.mark.usefixtures("undrawn")
def test_a_report_goes_on_when_a_sweep_clears_what_it_is_writing(folder, monkeypatch):
    replace = os.replace

    def cleared(temporary, path):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace)
            if path.name == "report.html" and not cleared_by:
                with store.opened(folder):
                    cleared_by.append(temporary)
            replace(temporary, path)

    cleared_by = []
    (folder / "report.html").unlink()
    monkeypatch.setattr(os, "replace", cleared)
    build.build(folder)
    assert cleared_by
    assert (folder / "report.html").exists()


# What is set aside.


@pytest.mark.usefixtures("undrawn")
def test_a_report_beside_a_running_sweep_renames_and_deletes_no_record(folder, capsys):
    for path, text in zip(loose(folder), ("{", "[]"), strict=False):
        path.write_text(text)
    (folder / "cells" / ".x.json.4242.tmp").write_text("half")
    (folder / "manifest.json").write_text("{")
    kept = ("cells", "packed", "manifest.json", ".owner.json")
    with store.opened(folder):
        before = [contents(folder / name) or (folder / name).read_bytes() for name in kept]
        status, told = told_by(report.main, [str(folder)])
        after = [contents(folder / name) or (folder / name).read_bytes() for name in kept]
    assert status == 0
    assert len([one for one in told if "is not a whole record" in one]) == 2
    assert after == before


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


def test_a_plan_of_many_seeds_takes_no_memory(folder):
    described = store.read_manifest(folder)
    described["plan"] |= {"seeds": 10**9}
    described["sessions"] = [{"plan": described["plan"]}]
    store.write_manifest(folder, described)
    build.build(folder, with_figures=False)
