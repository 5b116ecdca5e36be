"""The library's tests on a device, for `experiments.benchmarks.device`."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments.training.devices import cores

ROOT = Path(__file__).parents[2]
PLATFORMS = {"gpu": "cuda"}  # as JAX_PLATFORMS names what jax calls its backend
MOST_WORKERS = 8  # each keeps some of the device's memory
OUTCOME = re.compile(r"\[gw\d+\].*? (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (\S.*?)\s*$")
SHOWN = 20  # failures in the table
WIDTH = 78  # so that what is said below it is not broken


def missing() -> list[str]:
    """What pytest is run with, and is not there."""
    return [name for name in ("pytest", "xdist", "hypothesis") if find_spec(name) is None]


def run(tests: Sequence[str], backend: str, log: Path, seconds: float) -> dict[str, Any]:
    """How many passed, and who did not, as far as they came in so many seconds.

    They may use the backend, and the CPU beside it; without the backend they fail.
    """
    platform = PLATFORMS.get(backend, backend)
    platforms = "cpu" if platform == "cpu" else f"{platform},cpu"
    workers = min(MOST_WORKERS, len(cores()))
    command = [sys.executable, "-m", "pytest", *tests, "-v", "-n", str(workers), "--color", "no"]
    command += ["-m", "not slow"]  # on every case, as `make thorough`
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | {"JAX_PLATFORMS": platforms},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    of_test = outcomes(log.read_text(encoding="utf-8", errors="replace"))
    counts = Counter(of_test.values())
    return {
        "platforms": platforms,
        "tests": list(tests),
        "seconds": time.monotonic() - started,
        "status": status,
        "passed": counts["PASSED"],
        "failed": counts["FAILED"] + counts["ERROR"],
        "skipped": counts["SKIPPED"],
        "failures": sorted(name for name, of in of_test.items() if of in ("FAILED", "ERROR")),
    }


def outcomes(log: str) -> dict[str, str]:
    """By test, of what `pytest -v -n` prints as it goes."""
    return {found[2]: found[1] for found in map(OUTCOME.search, log.splitlines()) if found}


def make_table(found: dict[str, Any]) -> Table:
    table = Table(
        "passed", "failed", "skipped", "s", box=SIMPLE_HEAD, title_justify="left", min_width=WIDTH
    )
    table.title = f"Tests, JAX_PLATFORMS={found['platforms']}"
    counts = [str(found[key]) for key in ("passed", "failed", "skipped")]
    table.add_row(*counts, f"{found['seconds']:.0f}")
    lines = found["failures"][:SHOWN]
    if more := len(found["failures"]) - len(lines):
        lines.append(f"and {more} more, in device.json")
    if found["status"] is None:
        lines.insert(0, "The time was over before all had run.")
    elif found["status"] not in (0, 1):
        lines.insert(0, f"pytest ended with status {found['status']}: tests.txt says why.")
    table.caption, table.caption_justify = "\n".join(lines), "left"
    return table
