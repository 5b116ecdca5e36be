"""Run a sweep of strategies × datasets × backbones × seeds: `python -m experiments.sweep`."""

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from experiments import report, store
from experiments.baselines import BASELINES
from experiments.choices import UsageError
from experiments.datasets import DATASETS, SPLITS, Dataset, load
from experiments.executors import run_here
from experiments.plan import PRESETS, Cell, Plan, cells, identity, make_plan
from experiments.strategies import TRAINED, Strategy, check_fit, resolve

ROOT = Path(__file__).parent.parent


def run_sweep(
    plan: Plan,
    out: str | Path,
    *,
    retry_failed: bool = False,
    force: bool = False,
    fail_fast: bool = False,
    console: Console | None = None,
) -> list[store.Record]:
    """Run what is missing of a plan, then redo summary and figures.

    Args:
      plan: from `make_plan`.
      out: the sweep's folder; cells that it already holds are not run again.
      retry_failed: run failed cells again.
      force: run every cell again.
      fail_fast: stop at the first cell that fails.
      console: where progress goes; by default nowhere.

    Returns:
      Every record of the folder.

    Raises:
      UsageError: before any training, where something given cannot be used.
    """
    console = console or Console(quiet=True)
    folder = Path(out)
    datasets, strategies, groups = _lay_out(plan)
    store.prepare(folder)
    _refuse_other_sources(folder)
    wanted = {identity(cell) for group in groups for cell in group}
    settled = set() if force else _settled(folder, wanted, retry_failed)
    manifest = _manifest(plan, datasets)
    store.write_json(folder / "manifest.json", manifest)
    if settled:
        console.print(f"{len(settled)} of {len(wanted)} cells are done already; running the rest.")

    failed = 0
    with _progress(console) as progress:
        for group in groups:
            todo = [cell for cell in group if identity(cell) not in settled]
            if not todo:
                continue
            name, backbone = todo[0]["dataset"]["name"], todo[0]["backbone"]
            total = sum(cell["training"].get("epochs", 0) for cell in todo)
            task = progress.add_task(f"{name}, {backbone}", total=total, cells=len(todo), done=0)
            compiled = []
            for record, arrays in run_here(
                todo,
                datasets[name],
                strategies,
                lambda epochs, task=task: progress.advance(task, epochs),
                compiled.append,
            ):
                store.save(folder, record, arrays)
                manifest["train_seconds"] += record["timing"]["train_seconds"]
                failed += record["status"] == "failed"
                progress.update(task, done=progress.tasks[task].fields["done"] + 1)
                _say_finished(console, record)
                if failed and fail_fast:
                    break
            manifest["compile_seconds"] += sum(compiled)
            if failed and fail_fast:
                break
    manifest["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    store.write_json(folder / "manifest.json", manifest)
    return report.build(folder)


def _lay_out(
    plan: Plan,
) -> tuple[dict[str, Dataset], list[Strategy], list[list[Cell]]]:
    """The datasets, the strategies with a network, and the cells in groups that run together."""
    datasets = {name: load(name) for name in plan.datasets}
    strategies = [resolve(name) for name in plan.strategies if name not in BASELINES]
    groups: dict[tuple[str, str], list[Cell]] = {}
    for name, dataset in datasets.items():
        for strategy in strategies:
            check_fit(strategy, dataset)
        for cell in cells(plan, dataset, strategies):
            groups.setdefault((name, cell["backbone"]), []).append(cell)
    return datasets, strategies, list(groups.values())


def _settled(folder: Path, wanted: set[str], retry_failed: bool) -> set[str]:
    """Ids of the cells that need not run."""
    statuses = ("done",) if retry_failed else ("done", "failed")
    records = store.load(folder)
    return {r["id"] for r in records if r["id"] in wanted and r["status"] in statuses}


def _refuse_other_sources(folder: Path) -> None:
    """Records of other code do not mix with this one's."""
    before = store.read_manifest(folder).get("sources")
    if before not in (None, source_hash()):
        raise UsageError(
            f"{folder} holds records made by other code (sources {before[:12]}, now "
            f"{source_hash()[:12]}). Give another --out, or delete the folder."
        )


def source_hash() -> str:
    """SHA-256 of the sources that decide numbers."""
    files = [
        *(ROOT / "bounded").glob("*.py"),
        *(
            ROOT / "experiments" / f"{name}.py"
            for name in ("baselines", "datasets", "strategies", "training")
        ),
    ]
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\n" + path.read_bytes())
    return digest.hexdigest()


def _manifest(plan: Plan, datasets: dict[str, Dataset]) -> dict[str, Any]:
    def git(*command: str) -> str | None:
        result = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True)
        return result.stdout.strip() if result.returncode == 0 else None

    packages = ("jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "plan": asdict(plan),
        "command": sys.argv,
        "datasets": {
            name: {
                "role": dataset.role,
                "hash": dataset.hash,
                "scale": dataset.scale,
                "unit": dataset.unit,
                "inputs": dataset.inputs.shape,
                "targets": dataset.targets.shape,
                "bounds": dataset.sides(),
                "windows": dict(zip(SPLITS, np.bincount(dataset.split).tolist(), strict=True)),
            }
            for name, dataset in datasets.items()
        },
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "sources": source_hash(),
        "revision": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain")),
        "devices": [device.device_kind for device in jax.local_devices()],
        "processor": platform.processor() or platform.machine(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": None,
        "compile_seconds": 0.0,
        "train_seconds": 0.0,
    }


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[done]} of {task.fields[cells]} cells"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def _say_finished(console: Console, record: store.Record) -> None:
    """One line a failed cell; off a terminal, where no bar shows, one a finished cell too."""
    config = record["config"]
    name = (
        f"{config['dataset']['name']} {config['backbone']} {config['strategy']['name']} "
        f"seed {config['seed']}"
    )
    if record["status"] == "failed":
        console.print(f"failed  {name}: {record['error']}", markup=False)
    elif not console.is_terminal:
        console.print(f"done    {name}", markup=False)


def list_choices() -> list[Table]:
    """What can be named on the command line."""
    presets = Table("preset", "strategies", "datasets", "backbones", "seeds", "hidden", "epochs")
    for name, plan in PRESETS.items():
        counts = [str(len(values)) for values in (plan.strategies, plan.datasets)]
        numbers = [str(value) for value in (plan.seeds, plan.hidden, plan.epochs)]
        presets.add_row(name, *counts, ", ".join(plan.backbones), *numbers)
    strategies = Table(
        Column("strategy", no_wrap=True),
        "what it is",
        "holds",
        "hyperparameters: default, rest of grid",
        "source",
    )
    for row in TRAINED.values():
        holds = row.guarantee + " (one side)" * row.one_side
        values = "; ".join(f"{name}: {_listed(grid)}" for name, grid in row.grid.items())
        strategies.add_row(row.name, row.summary, holds, values, row.source)
    for name, (_, text) in BASELINES.items():
        strategies.add_row(name, f"baseline, untrained: {text}", "", "", "")
    datasets = Table("dataset", "role", "what it is", "windows", "bounds", "unit")
    for name, entry in DATASETS.items():
        found = load(name)
        shape = " × ".join(map(str, found.targets.shape))
        datasets.add_row(
            name, entry.role, entry.summary, shape, ", ".join(found.sides()), entry.unit
        )
    return [presets, strategies, datasets]


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(prog="python -m experiments.sweep", description=__doc__)
    add = result.add_argument
    add(
        "--preset",
        default="default",
        help=f"what is run where no other flag says: {', '.join(PRESETS)}; default: %(default)s",
    )
    add("--strategies", type=names, help="names from --list, or module:function; comma-separated")
    add("--datasets", type=names, help="names from --list, or paths to .npz; comma-separated")
    add("--backbones", type=names, help="bottleneck, conditioned; comma-separated")
    add("--hidden", type=int, help="hidden units")
    add("--dtype", help="float32, or bfloat16 for mixed precision: of the recurrent products")
    add("--seeds", type=int, help="seeds of every strategy")
    add("--epochs", type=int, help="epochs, of 16 batches each")
    add("--out", help="folder; default: results/PRESET")
    add("--retry-failed", action="store_true", help="run failed cells again")
    add("--force", action="store_true", help="run every cell again")
    add("--fail-fast", action="store_true", help="stop at the first failure")
    add("--dry-run", action="store_true", help="say what would run, and stop")
    add("--list", action="store_true", help="say what can be named, and stop")
    return result


def cores() -> list[int]:
    """The cores that this process may use."""
    on_linux = hasattr(os, "sched_getaffinity")
    return sorted(os.sched_getaffinity(0)) if on_linux else list(range(os.cpu_count() or 1))


def use_all_cores() -> None:
    """One device a core on CPU, so that every core trains its own cell. Before jax starts."""
    jax.config.update("jax_num_cpu_devices", len(cores()))


def use_compilation_cache() -> None:
    """Keep what XLA compiles in the user's cache folder, unless JAX_COMPILATION_CACHE_DIR says
    otherwise or the folder cannot be written to."""
    if jax.config.jax_compilation_cache_dir:
        return
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    # By host: what is compiled for one processor need not run on another.
    folder = Path(base) / "bounded" / "xla" / (platform.node() or "host")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    console = report.make_console()
    try:
        return _main(options, console)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here.", file=sys.stderr)
        return 130


def _main(options: argparse.Namespace, console: Console) -> int:
    if options.list:
        for table in list_choices():
            console.print(table)
        return 0
    fields = ("strategies", "datasets", "backbones", "hidden", "dtype", "seeds", "epochs")
    plan = make_plan(options.preset, **{name: getattr(options, name) for name in fields})
    out = Path(options.out or f"results/{options.preset}")
    if options.dry_run:
        _, _, groups = _lay_out(plan)
        wanted = {identity(cell) for group in groups for cell in group}
        done = _settled(out, wanted, False) if (out / "cells").is_dir() else set()
        console.print(f"{out}: {len(wanted)} cells, {len(done)} of them done already.")
        return 0
    started = time.perf_counter()
    records = run_sweep(
        plan,
        out,
        retry_failed=options.retry_failed,
        force=options.force,
        fail_fast=options.fail_fast,
        console=console,
    )
    for table in report.tables(records):
        console.print(table)
    failed = sum(record["status"] == "failed" for record in records)
    console.print(
        f"{out}: summary.csv, cells/, figures/; {failed} failed cells; "
        f"{time.perf_counter() - started:.0f} s."
    )
    return 1 if failed else 0


if __name__ == "__main__":
    use_all_cores()
    use_compilation_cache()
    sys.exit(main())
