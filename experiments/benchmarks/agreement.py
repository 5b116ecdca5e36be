"""One sweep on a CPU and on a device, cell by cell: for `experiments.benchmarks.device`."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from experiments import store

FIRST = 1e-4  # of the first look at validation, relative: what counts as rounding
NONE = 1e-12  # a squared error that is as good as 0
SPARE = 0.8  # of the time, after which a sweep begins no more cells
Row = dict[str, Any]


def sweeps(out: Path, preset: str, epochs: int, seconds: float) -> tuple[Path, Path] | str:
    """A preset, one seed, on CPU and where JAX trains by itself, at the same time: the two folders,
    or why there are none."""
    ends = time.monotonic() + seconds
    out.mkdir(parents=True, exist_ok=True)
    folders = out / "cpu", out / "device"
    processes = []
    for folder, platform in zip(folders, ({"JAX_PLATFORMS": "cpu"}, {}), strict=True):
        command = [sys.executable, "-m", "experiments.sweep", "--preset", preset]
        command += ["--seeds", "1", "--epochs", str(epochs), "--force", "--out", str(folder)]
        command += ["--minutes", str(SPARE * seconds / 60)]
        with folder.with_suffix(".txt").open("w") as file:
            processes.append(
                subprocess.Popen(
                    command, env=os.environ | platform, stdout=file, stderr=subprocess.STDOUT
                )
            )
    try:
        for process in processes:
            process.wait(max(0.0, ends - time.monotonic()))
    except subprocess.TimeoutExpired:
        pass  # what is there is compared
    finally:
        for process in processes:
            process.kill()
            process.wait()
    empty = [folder for folder in folders if not store.holds_sweep(folder)]
    if empty:
        return f"no cell was done in {seconds:.0f} s; see {empty[0].with_suffix('.txt')}"
    return folders


def compared(one: Path, other: Path) -> Row:
    """How far the trained cells that both folders have are apart: the other's over the one's."""
    records = [{record.id: record for record in store.read(of)} for of in (one, other)]
    rows = []
    for identity in sorted(records[0].keys() & records[1].keys()):
        pair = [of[identity] for of in records]
        if not all(record.is_done and record.cell.is_trained for record in pair):
            continue
        looks = [store.load_arrays(of, identity)["history_mse"] for of in (one, other)]
        last = [record.metrics["mse"] for record in pair]
        cell = pair[0].cell
        rows.append(
            {
                "id": identity,
                "cell": f"{cell.strategy} on {cell.dataset}, {cell.backbone}, {cell.phase}",
                "first": ratio(looks[1][0], looks[0][0]),
                "last": ratio(last[1], last[0]),
            }
        )
    return {"cells": rows, **summary(rows)}


def ratio(one: float, other: float) -> float:
    """Of two errors, which may be 0 where a bound is the target."""
    return float((one + NONE) / (other + NONE))


def apart(row: Row) -> float:
    """How far a cell's ends are from 1, either way."""
    return max(row["last"], 1 / row["last"])


def summary(rows: list[Row]) -> Row:
    """Of the ratios: how many first looks agree to rounding, and how far apart the ends are."""
    return {
        "compared": len(rows),
        "first_agree": sum(abs(row["first"] - 1) <= FIRST for row in rows),
        "median_ratio": statistics.median(row["last"] for row in rows) if rows else None,
        "largest_ratio": max(map(apart, rows), default=None),
    }


def make_table(found: Row) -> Table:
    table = Table("", "", box=SIMPLE_HEAD, show_header=False, title_justify="left")
    table.title = "A sweep on the device and on CPU: trained cells"
    table.add_row("cells that both have", str(found["compared"]))
    if found["compared"]:
        table.add_row(
            f"first looks within {FIRST:.0e} of each other",
            f"{found['first_agree']} of {found['compared']}",
        )
        table.add_row("mse at the end, device over CPU: median", f"{found['median_ratio']:.4f}")
        table.add_row("furthest from 1, either way", f"{found['largest_ratio']:.3f}")
        worst = max(found["cells"], key=apart)
        table.add_row("that is", worst["cell"])
    return table
