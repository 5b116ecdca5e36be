"""No process outlives a sweep, however it ends: `python -m pytest -m slow`."""

import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from experiments import store
from experiments.running.fingerprints import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux says what runs"),
]
TINY = [
    "--preset",
    "smoke",
    "--datasets",
    "irradiance",
    "--seeds",
    "1",
    "--hidden",
    "4",
    "--epochs",
    "1",
]


def processes_of(session):
    """Those that a process started, and itself: of its session, zombies apart."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, of = path.read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(path.parent.name))
    return found


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


HANGS = """
import multiprocessing, time, traceback
import jax.numpy as jnp
def mine(raw, lower=None, upper=None):
    if any("runner.py" in frame.filename for frame in traceback.extract_stack()):
        time.sleep(600)
    return jnp.minimum(raw, upper)
"""
SWEEP = """
import runpy
from experiments.running import watch
watch.LAST_SECONDS = 10
runpy.run_module("experiments.sweep", run_name="__main__", alter_sys=True)
"""
# How it ends: flags, signals once there is a record, and the exit status.
ENDS = {
    "by itself": ([], [], 0),
    "Ctrl-C": ([], [signal.SIGINT], 130),
    "Ctrl-C twice": ([], [signal.SIGINT, signal.SIGINT], 130),
    "SIGTERM": ([], [signal.SIGTERM], -signal.SIGTERM),
    "SIGHUP": ([], [signal.SIGHUP], -signal.SIGHUP),
    "SIGKILL": ([], [signal.SIGKILL], -signal.SIGKILL),
    "--minutes": (["--strategies", "hangs:mine", "--minutes", "0.4"], [], 0),
    "--timeout": (["--strategies", "hangs:mine", "--timeout", "25"], [], 1),
    "--fail-fast": (["--strategies", "fails:mine,half_tanh", "--fail-fast"], [], 1),
}
WHERE = {"one process": [], "a pool": ["--workers", "1"], "dask": ["--dask", "local"]}


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("end", ENDS)
def test_no_process_outlives_a_sweep(tmp_path, monkeypatch, end, where):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path.parent / "xla"))
    (tmp_path / "hangs.py").write_text(HANGS)
    (tmp_path / "fails.py").write_text(HANGS.replace("time.sleep(600)", "1 / 0"))
    flags, signals, status = ENDS[end]
    command = [sys.executable, "-c", SWEEP, *TINY, *WHERE[where], *flags]
    process = subprocess.Popen(
        [*command, "--out", "out"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    if signals:
        wait_for(lambda: list(tmp_path.glob("out/cells/*.json")) or process.poll() is not None)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.5)
    printed = process.communicate(timeout=180)[0]
    assert process.returncode == status, printed
    wait_for(lambda: not processes_of(process.pid), 20)
    with store.opened(tmp_path / "out"):
        assert all(record.is_done or "mine" in record.cell.strategy for record in store.read("out"))
