"""An edit of the user's own module, or of what it imports, between two sweeps into one folder."""

import itertools
import os
import shutil
import subprocess
import sys

import pytest

from experiments import store, sweep
from experiments.running.fingerprints import ROOT
from tests.experiments.sweeps import SMOKE
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("untrained")
FUNCTION = """
import jax.numpy as jnp
from {helper} import SCALE, shifted
def mine(raw, lower=None, upper=None):
    return jnp.minimum(SCALE * shifted(raw), upper)
"""
ROW = """
from {helper} import SCALE, shifted
from experiments.training.strategy_rows import Strategy
mine = Strategy(
    "mine",
    lambda raw, lower, upper, progress, state, hyper: (shifted(raw), SCALE * progress * hyper[0]),
    lambda raw, lower, upper, hyper: shifted(raw),
    grid={{"weight": (1.0,)}},
)
"""
SOURCES = {"function": FUNCTION, "row": ROW}
HELPER = "SCALE = 2.0\n\n\ndef shifted(raw):\n    return raw + 1\n"
EDITS = {"a constant": ("2.0", "2.5"), "a function": ("raw + 1", "raw + 1 + 1")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    anew(tmp_path)
    yield tmp_path
    anew(tmp_path)


def anew(folder):
    """As in another process, for which nothing is imported yet."""
    for name in ("mine", "helper", "package", "package.helper"):
        sys.modules.pop(name, None)
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)


def write(folder, source, helper):
    path = folder / f"{helper.replace('.', '/')}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(HELPER)
    (folder / "mine.py").write_text(source.format(helper=helper))
    return path


PLAN = ["--backbones", "mlp", "--datasets", "sines", "--strategies", "mine:mine"]
COMMAND = [*SMOKE, *PLAN, "--out", "out"]


SAMPLE = {("function", "package.helper", "a function"), ("row", "helper", "a constant")}


@pytest.mark.parametrize(
    ("source", "helper", "edit"),
    sampled(itertools.product(SOURCES, ["helper", "package.helper"], EDITS), SAMPLE),
)
@pytest.mark.usefixtures("untraced")
def test_an_edited_helper_makes_records_stale(folder, capsys, source, helper, edit):
    path = write(folder, SOURCES[source], helper)
    assert sweep.main(COMMAND) == 0
    anew(folder)
    path.write_text(f"# A comment.\n{HELPER}")
    assert sweep.main(COMMAND) == 0
    assert "3 cells, 3 of them done; 0 to run" in capsys.readouterr().out
    anew(folder)
    path.write_text(HELPER.replace(*EDITS[edit]))
    assert sweep.main(COMMAND) == 2
    assert "1: the program of mine:mine changed (mine:mine)" in capsys.readouterr().err


@pytest.mark.usefixtures("untraced")
def test_an_edit_within_one_process_is_refused_until_it_is_imported_anew(folder, capsys):
    path = write(folder, FUNCTION, "helper")
    assert sweep.main(COMMAND) == 0
    path.write_text(f"{HELPER}# Longer.\n")
    assert sweep.main(COMMAND) == 2
    error = capsys.readouterr().err
    assert "helper.py changed since this process imported it: restart it" in error
    assert len(store.read("out")) == 3
    anew(folder)
    assert sweep.main(COMMAND) == 0
    assert "3 cells, 3 of them done; 0 to run" in capsys.readouterr().out


@pytest.mark.thorough  # test_fingerprints.py compares processes, the tests above are of edits
@pytest.mark.parametrize(
    ("scale", "code", "said"),
    [("2.0", 0, "3 of them done; 0 to run"), ("2.25", 2, "the program of mine:mine changed")],
)
def test_another_process_finds_what_is_on_disk(folder, scale, code, said):
    path = write(folder, FUNCTION, "helper")
    assert sweep.main(COMMAND) == 0
    path.write_text(HELPER.replace("2.0", scale))
    run = subprocess.run(
        [sys.executable, "-m", "experiments.sweep", *COMMAND, "--dry-run"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == code
    assert said in run.stdout + run.stderr
