"""What is derived from a sweep's records: `python -m experiments.report results/NAME`.

Writes `summary.csv`, `figures/`, `tables/` and the page `report.html`, and prints what is in them
by dataset. All of it can be deleted and redone.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments import captions, evidence, figures, page, statistics, store, study, tables
from experiments.catalogue import DATASETS
from experiments.choices import UsageError, in_order
from experiments.progress import say
from experiments.statistics import Spread
from experiments.store import Record, StorageError
from experiments.strategies import EVERY_STRATEGY

PAGE = "report.html"
TABLE_METRICS = {
    "r2": "r2",
    "violation_rate": "violation",
    "gradient_dead_fraction": "dead",
    "blocked_fraction": "blocked",
    "code_reliance": "code reliance",
}


def build(folder: Path, with_figures: bool = True) -> list[Record]:
    """Redo summary, figures, tables and page from the records; returns the records.

    Raises:
      UsageError: if the folder holds no sweep.
      StorageError: if it cannot be written to.
    """
    records, manifest = store.load(folder), store.read_manifest(folder)
    found = study.read(manifest, records)
    store.write_summary(folder, found.rows, statistics.COLUMNS)
    shown = evidence.gather(found)
    try:
        if with_figures:
            figures.draw_all(folder, found)
        tables.write(folder / "tables", shown.tables)
        pictures = page.pictures(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written to: {error}.") from error
    name = folder.resolve().name
    cut = [path.name for path in store.damaged(folder)]
    mind = [f"packed/{name} is not whole: its cells count as missing." for name in cut]
    mind += notes(manifest, records) + [one.warning for one in pictures if one.warning]
    if captions.drawn(folder) not in (None, captions.digest(records)):
        mind.append("the figures are of other records; `python -m experiments.report` redoes them.")
    text = page.render(name, found, shown, pictures, mind)
    store.write_text(folder / PAGE, text)
    return records


def show(console: Console, folder: Path, records: list[Record]) -> None:
    """Print the tables, what a reader of them must know, and where the page is."""
    for table in terminal_tables(records):
        console.print(table)
    for note in notes(store.read_manifest(folder), records):
        say(console, f"note: {note}")
    say(console, f"page: {folder / PAGE}")


def notes(manifest: dict[str, Any], records: list[Record]) -> list[str]:
    """What keeps a sweep's numbers from being compared."""
    versions = {record["sources"] for record in records if "sources" in record}
    mixed = [f"the records are of {len(versions)} versions of the code."] * (len(versions) > 1)
    for kind in ("dataset", "strategy"):
        parts = {(r["config"][kind]["name"], r["config"][kind].get("hash")) for r in records}
        names = [name for name, _ in parts]
        mixed += [
            f"the records are of {names.count(name)} versions of the {kind} {name}."
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
    for key, kind in {"versions": "sets of packages", "processor": "processors"}.items():
        ran = {str(s[key]) for s in manifest.get("sittings", ()) if s.get(key)}
        mixed += [f"the sittings had {len(ran)} {kind}."] * (len(ran) > 1)
    broken = [
        f"{100 * found['infeasible']:.3g} % of the targets of {name} break their bounds."
        for name, found in manifest.get("datasets", {}).items()
        if found.get("infeasible")
    ]
    return mixed + broken


def terminal_tables(records: list[Record]) -> list[Table]:
    """One table a dataset and backbone, a row a strategy; baselines join every backbone."""
    spreads = statistics.over_seeds(statistics.summary(records))
    constants = evidence.constant_bounds(records)
    result = []
    for dataset in in_order({key[0] for key in spreads}, DATASETS):
        backbones = [key[1] for key in spreads if key[0] == dataset and key[1] != "none"]
        for backbone in dict.fromkeys(backbones or ["none"]):
            here = {
                strategy: metrics
                for (where, kind, strategy), metrics in spreads.items()
                if where == dataset and kind in (backbone, "none")
            }
            marked = {name: sides for (of, name), sides in constants.items() if of == dataset}
            table = _table(here, marked)
            table.title = escape(f"{dataset}, {backbone}")
            result.append(table)
    return result


def _table(metrics: dict[str, dict[str, Spread]], marked: dict[str, str]) -> Table:
    table = Table(title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("strategy", overflow="fold", no_wrap=max(map(len, metrics)) < 30)
    for title in TABLE_METRICS.values():
        table.add_column(title, justify="right", overflow="fold")
    for name in in_order(metrics, EVERY_STRATEGY):
        values = [cell_text(metrics[name].get(metric)) for metric in TABLE_METRICS]
        table.add_row(escape(name) + "*" * (name in marked), *values)
    if marked:
        notes = ", ".join(f"{name} ({sides})" for name, sides in marked.items())
        table.caption = escape(f"* bounded by constants, the training range: {notes}")
    return table


def cell_text(spread: Spread | None) -> str:
    """`mean ± standard deviation`, or a dash where the metric does not exist."""
    if spread is None or math.isnan(spread.mean):
        return "–"
    if math.isnan(spread.deviation):
        return f"{spread.mean:.3f}"
    return f"{spread.mean:.3f} ± {spread.deviation:.3f}"


def make_console() -> Console:
    """The terminal; where there is none (a file, a pipe), wide enough for the tables."""
    return Console(width=None if sys.stdout.isatty() else 120)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.report", description=__doc__)
    parser.add_argument("folder", type=Path, help="a sweep's folder, such as results/default")
    folder = parser.parse_args(arguments).folder
    try:
        records = build(folder)
    except (UsageError, StorageError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    show(make_console(), folder, records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
