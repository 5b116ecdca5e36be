"""What a command prints of a sweep's records."""

import math
from collections.abc import Mapping
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments import store
from experiments.analysis import statistics
from experiments.analysis.result_tables import METRICS, constant_bounds
from experiments.analysis.statistics import Spread
from experiments.analysis.tables import DASH
from experiments.cells import UNTRAINED, Record
from experiments.console import printable, say
from experiments.data.catalogue import DATASETS
from experiments.page.warnings import mixed
from experiments.training.strategies import EVERY_STRATEGY
from experiments.usage import in_order

PAGE = "report.html"
SHOWN = "r2", "violation_rate", "gradient_dead_fraction", "blocked_fraction", "code_reliance"
COLUMNS = [column for column in METRICS if column.key in SHOWN]


def show(console: Console, folder: Path, records: list[Record]) -> None:
    """Print the tables, what a reader of them must know, and where the page is."""
    for table in metrics_tables(records):
        console.print(table)
    for warning in mixed(store.read_manifest(folder), records):
        say(console, f"warning: {warning}")
    say(console, f"page: {folder / PAGE}")


def metrics_tables(records: list[Record]) -> list[Table]:
    """One table a dataset and backbone, a row a strategy; baselines join every backbone."""
    spreads = statistics.over_seeds(statistics.summary(records))
    result = []
    for dataset in in_order({key[0] for key in spreads}, DATASETS):
        marked = constant_bounds(records, dataset)
        backbones = [key[1] for key in spreads if key[0] == dataset and key[1] != UNTRAINED]
        for backbone in dict.fromkeys(backbones or [UNTRAINED]):
            here = {
                strategy: metrics
                for (where, kind, strategy), metrics in spreads.items()
                if where == dataset and kind in (backbone, UNTRAINED)
            }
            table = _table(here, marked)
            table.title = escape(printable(f"{dataset}, {backbone}"))
            result.append(table)
    return result


def _table(metrics: Mapping[str, Mapping[str, Spread]], marked: Mapping[str, str]) -> Table:
    table = Table(title_justify="left", caption_justify="left", box=SIMPLE_HEAD)
    table.add_column("strategy", overflow="fold", no_wrap=max(map(len, metrics)) < 30)
    for column in COLUMNS:
        table.add_column(column.title, justify="right", overflow="fold")
    for name in in_order(metrics, EVERY_STRATEGY):
        values = [cell_text(metrics[name].get(column.key)) for column in COLUMNS]
        table.add_row(escape(printable(name)) + "*" * (name in marked), *values)
    if marked:
        notes = ", ".join(f"{name} ({sides})" for name, sides in marked.items())
        said = printable(f"* bounded by constants, the training range: {notes}")
        table.caption = escape(said)
    return table


def cell_text(spread: Spread | None) -> str:
    """`mean ± standard deviation`, or a dash where the metric does not exist."""
    if spread is None or math.isnan(spread.mean):
        return DASH
    if math.isnan(spread.deviation):
        return f"{spread.mean:.3f}"
    return f"{spread.mean:.3f} ± {spread.deviation:.3f}"
