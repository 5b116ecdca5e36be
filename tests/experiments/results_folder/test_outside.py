"""Nothing outside the folder and the cache is ever touched: every file that a command opens,
renames or deletes is watched, in a folder full of ways out."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import store
from experiments.cells import Record
from experiments.running.fingerprints import versions
from experiments.running.plan import lay_out
from experiments.running.presets import make_plan
from tests.experiments import written
from tests.experiments.results_folder import whole
from tests.experiments.results_folder.whole import arrays_of, contents
from tests.sampled import sampled

PLAN = {"strategies": ("unconstrained", "clip", "bound"), "datasets": ("irradiance",), "seeds": 1}
WATCHED = """
import json, os, runpy, sys
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
           "os.truncate", "os.chmod", "os.chown", "os.utime", "shutil.rmtree", "shutil.move"}
seen = {"read": set(), "written": set()}

def watch(event, arguments):
    if event == "open":
        paths, kind = arguments[:1], "written" if arguments[2] & WRITES else "read"
    elif event in CHANGES:
        paths, kind = arguments[: 2 if event in ("os.rename", "os.link") else 1], "written"
    else:
        return
    for path in paths:
        if not isinstance(path, int) and path is not None:
            seen[kind].add(os.path.abspath(os.fsdecode(path)))

sys.addaudithook(watch)
_, told, module, *sys.argv[1:] = sys.argv
if module != "experiments.archive":  # which draws nothing
    from experiments.figures import constraint_shapes
    constraint_shapes.SHAPES = constraint_shapes.SHAPES[:1]  # each is compiled
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as status:
    found = {"status": status.code, **{kind: sorted(paths) for kind, paths in seen.items()}}
os.write(int(told), json.dumps(found).encode())
"""
COMMANDS = {
    "report": ["experiments.report", "--latex"],
    "archive": ["experiments.archive"],
    "sweep": [
        "experiments.sweep",
        *("--preset", "smoke", "--seeds", "1", "--datasets", "irradiance"),
        *("--strategies", "bound", "--stale", "rerun", "--out"),
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A sweep with nothing left to run, with ways out to a folder with somebody's work."""
    place = tmp_path_factory.mktemp("place")
    folder, work = whole.make(place / "sweep"), place / "work"
    for path in (folder / "cells").iterdir():
        path.unlink()
    (folder / "packed" / "wind.npz").unlink()
    cells = lay_out(make_plan("smoke", **PLAN)).cells.values()
    for cell in cells:
        store.save(folder, Record(cell, metrics={"mse": 0.5, "violation_rate": 0.1}), arrays_of(0))
    work.mkdir()
    (work / "thesis.py").write_text("def clip(raw, lower=None, upper=None): return raw\n")
    own = replace(next(iter(cells)), strategy="thesis:clip", dataset="thesis.npz")
    fingerprint = {"strategy": "0", "training": "0", "host": "0", "versions": versions()}
    record = Record(own, metrics={"mse": 0.5}, fingerprint=fingerprint)
    store.save(folder, record, arrays_of(0))
    (work / "thesis.docx").write_text("years of work")
    (work / "thesis.json").write_text(json.dumps(written.record("clip", "wind").to_json()))
    written.figure(work / "thesis.png")
    out = str(work / "thesis.docx")
    (folder / "figures" / "captions.json").write_text(
        json.dumps({"records": None, "figures": {out: {"title": "", "caption": ""}}})
    )
    made = [out, "../../work/thesis.docx", *json.loads((folder / "tables/made.json").read_text())]
    (folder / "tables" / "made.json").write_text(json.dumps(made))
    for name, target in {
        "figures/thesis.png": "thesis.png",
        "packed/thesis.npz": "thesis.docx",
        f"cells/{'0' * 64}.json": "thesis.json",
        "summary.csv": "thesis.docx",
        "report.html": "thesis.docx",
        "tables/settings.csv": "thesis.docx",
        ".owner.json": "thesis.docx",
    }.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(work / target)
    return place


@pytest.mark.parametrize("command", sampled(COMMANDS, {"archive", "sweep"}))
def test_a_command_touches_the_folder_and_the_cache_alone(place, command):
    folder, home = place / "sweep", place / "home"
    (home / ".config").mkdir(parents=True, exist_ok=True)
    module, *options = COMMANDS[command]
    before = contents(place / "work")
    reader, writer = os.pipe()
    environment = {key: of for key, of in os.environ.items() if "CACHE" not in key}
    process = subprocess.Popen(
        [sys.executable, "-c", WATCHED, str(writer), module, *options, str(folder)],
        env=environment
        | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(place / "work")},
        pass_fds=[writer],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    os.close(writer)
    with open(reader) as told:
        text = told.read()
    printed = process.communicate()[0]
    assert text, printed
    seen = json.loads(text)
    assert seen["status"] == (1 if command == "archive" else 0), printed
    # Matplotlib makes an empty folder for its settings, whoever imports it.
    inside = folder, home / ".cache", home / ".config" / "matplotlib", Path("/dev")
    outside = [
        path
        for path in seen["written"]
        if not any(Path(path).is_relative_to(place) for place in inside)
    ]
    assert not outside
    assert not [path for path in seen["read"] if Path(path).is_relative_to(place / "work")]
    assert contents(place / "work") == before
    assert [path for path in seen["written"] if Path(path).is_relative_to(folder)]
