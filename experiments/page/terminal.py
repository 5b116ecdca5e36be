"""What a command prints of a sweep's records."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments import store
from experiments.analysis import statistics
from experiments.analysis.effects import ends_without_gradient
from experiments.analysis.result_tables import METRICS
from experiments.analysis.statistics import REFERENCE, Spread, Spreads
from experiments.analysis.study import described, filled
from experiments.analysis.tables import DASH
from experiments.cells import UNTRAINED, Record
from experiments.console import printable, say
from experiments.data.catalogue import DATASETS
from experiments.page.warnings import mixed
from experiments.training.backbones import BACKBONES
from experiments.training.strategies import EVERY_STRATEGY
from experiments.usage import in_order

PAGE = "report.html"
SHOWN = "violation_rate", "gradient_dead_fraction", "blocked_fraction", "code_reliance"
MARKS = "* best   ! outputs or sums outside a bound   x a run ended without a gradient"
BROKEN = "violation_rate", "sum_violation_rate_1e-4"  # sums that are exact hold to rounding
MEANING = f"skill: 1 - mse / mse of {REFERENCE}, the clipped training mean"
WIDE = 10_000
COLUMNS = [column for column in METRICS if column.key in SHOWN]


def show(
    console: Console, folder: Path, records: list[Record], tables: bool = False, end: str = ""
) -> None:
    """Print scores, what a reader of them must know, and where the page is.

    Args:
      console: where to.
      folder: the sweep's.
      records: all of its.
      tables: whether to print every metric of every dataset first.
      end: of the last line, after the page's path.
    """
    manifest = store.read_manifest(folder)
    for table in metrics_tables(records) if tables else []:
        console.print(table)
    metric, found = scores(manifest, records)
    for backbone, columns in found.items():
        _print_scores(console, f"{metric}, {backbone}", columns)
    say(console, MARKS)
    if metric == "skill":
        say(console, MEANING)
    for warning in mixed(manifest, records):
        say(console, f"warning: {warning}")
    say(console, f"page: {folder / PAGE}{end}")


def scores(
    manifest: Mapping[str, Any], records: Sequence[Record]
) -> tuple[str, dict[str, dict[str, dict[str, str]]]]:
    """The score that is shown, and its mean over seeds with its marks, by backbone, dataset and
    strategy: skill, or r2 if some dataset has none for lack of the baseline."""
    spreads = statistics.over_seeds(statistics.summary(records))
    roles, _ = described(manifest, records)
    with_skill = {dataset for (dataset, *_), of in spreads.items() if "skill" in of}
    metric = "skill" if spreads and with_skill == {dataset for dataset, *_ in spreads} else "r2"
    stuck = {record.cell.place for record in records if ends_without_gradient(record, roles)}

    def column(dataset: str, backbone: str) -> dict[str, str]:
        found = _measured(spreads, dataset, backbone)
        means = {name: of[metric].mean for name, of in found.items() if metric in of}
        values = {name: round(mean, 3) for name, mean in means.items() if math.isfinite(mean)}
        best = max(values.values(), default=math.nan)
        broken = {
            name: any(key in of and of[key].mean > 0 for key in BROKEN)
            for name, of in found.items()
        }
        marks = {
            name: "*" * (value == best)
            + "!" * broken[name]
            + "x" * ((name, dataset, backbone) in stuck)
            for name, value in values.items()
        }
        return {name: f"{marks[name]} {value:.3f}" for name, value in values.items()}

    datasets = in_order({dataset for dataset, *_ in spreads}, DATASETS)
    backbones = in_order({backbone for _, backbone, _ in spreads} - {UNTRAINED}, BACKBONES)
    return metric, {
        of: {name: column(name, of) for name in datasets} for of in backbones or [UNTRAINED]
    }


def _print_scores(console: Console, title: str, columns: Mapping[str, Mapping[str, str]]) -> None:
    """A row a strategy and a column a dataset, as many as fit."""
    wide = console.options.update_width(WIDE)

    def table(count: int) -> Table:
        return _score_table(title, dict(islice(columns.items(), count)))

    def fits(count: int) -> bool:
        return console.measure(table(count), options=wide).maximum <= console.width

    counts = range(len(columns), 0, -1)
    count = next(filter(fits, counts), min(1, len(columns)))
    console.print(table(count))
    if more := len(columns) - count:
        say(console, f"{more} more datasets: on the page, and with --tables")


def _score_table(title: str, columns: Mapping[str, Mapping[str, str]]) -> Table:
    names = in_order({name for column in columns.values() for name in column}, EVERY_STRATEGY)
    table = _empty_table(title, names)
    for dataset in columns:
        table.add_column(
            escape(printable(dataset).replace("_", "_\n")), justify="right", no_wrap=True
        )
    for name in names:
        table.add_row(
            escape(printable(name)), *(column.get(name, DASH) for column in columns.values())
        )
    return table


def metrics_tables(records: list[Record]) -> list[Table]:
    """One table a dataset and backbone, a row a strategy; baselines join every backbone."""
    spreads = statistics.over_seeds(statistics.summary(records))
    constant, result = filled(records), []
    for dataset in in_order({key[0] for key in spreads}, DATASETS):
        marked = constant.get(dataset, {})
        backbones = [key[1] for key in spreads if key[0] == dataset and key[1] != UNTRAINED]
        for backbone in dict.fromkeys(backbones or [UNTRAINED]):
            here = _measured(spreads, dataset, backbone)
            result.append(_metrics_table(f"{dataset}, {backbone}", here, marked))
    return result


def _metrics_table(
    title: str, metrics: Mapping[str, Mapping[str, Spread]], marked: Mapping[str, str]
) -> Table:
    table = _empty_table(title, metrics)
    score = "skill" if any("skill" in found for found in metrics.values()) else "r2"
    for title in (f"{score} ± sd", *(column.title for column in COLUMNS)):
        table.add_column(title, justify="right")
    for name in in_order(metrics, EVERY_STRATEGY):
        found = metrics[name]
        values = [cell_text(found.get(of.key), with_deviation=False) for of in COLUMNS]
        table.add_row(
            escape(printable(name)) + "*" * (name in marked), cell_text(found.get(score)), *values
        )
    if marked:
        notes = ", ".join(f"{name} ({sides})" for name, sides in marked.items())
        said = printable(f"* bounded by constants, the training range: {notes}")
        table.caption = escape(said)
    return table


def cell_text(spread: Spread | None, with_deviation: bool = True) -> str:
    """`mean ± standard deviation`, or a dash where the metric does not exist."""
    if spread is None or math.isnan(spread.mean):
        return DASH
    if not with_deviation or math.isnan(spread.deviation):
        return f"{spread.mean:.3f}"
    return f"{spread.mean:.3f} ± {spread.deviation:.3f}"


def _empty_table(title: str, names: Collection[str]) -> Table:
    """Of strategies: their names alone may take several lines."""
    table = Table(title=escape(printable(title)), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify = table.caption_justify = "left"
    table.add_column("strategy", overflow="fold", no_wrap=max(map(len, names), default=0) < 30)
    return table


def _measured(spreads: Spreads, dataset: str, backbone: str) -> dict[str, Mapping[str, Spread]]:
    """Metrics by strategy; baselines join every backbone."""
    return {
        strategy: metrics
        for (where, kind, strategy), metrics in spreads.items()
        if where == dataset and kind in (backbone, UNTRAINED)
    }
