"""A study's page: its text in `templates/`, written by hand, with tables of the rows of its CSV."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scipy import stats

from experiments.analysis.tables import markdown
from experiments.reproduced import dc3, enforce, fitting, hardnet, question, snarenet
from experiments.reproduced.tables import Row
from experiments.training.strategies import TRAINED
from experiments.training.strategy_rows import BOTH, bound_sources

TEMPLATES = Path(__file__).parent / "templates"
LEVEL = 0.01  # of the test that marks a disagreement
DECIMALS = 2  # of HardNet's published numbers
Key = tuple[str, str, str]  # task, method and source
Mark = tuple[str, str, str, str]  # and metric


def page(study: str, rows: Sequence[Row]) -> str:
    """What is said, which tests hold to the committed rows, around tables of these rows."""
    text = (TEMPLATES / f"{study}.md").read_text(encoding="utf-8")
    return text.format(**TABLES[study](rows))


def _hardnet_tables(rows: Sequence[Row]) -> dict[str, str]:
    found = {(row["task"], row["method"], row["source"]): row for row in rows}
    marks = disagreements(found)

    def cell(row: Row, metric: str) -> str:
        text = f"{row[metric]:.{DECIMALS}f} ({row[f'{metric}_std']:.{DECIMALS}f})"
        if metric == "mse" and row["source"] == "ours":
            text += f" [{row['mse_low']:.{DECIMALS}f}, {row['mse_high']:.{DECIMALS}f}]"
        return text + " ≠" * ((row["task"], row["method"], row["source"], metric) in marks)

    header = ("method", "source", "seeds", "MSE", "max violation", "mean violation", "violations")
    tables = []
    for name, task in hardnet.TASKS.items():
        shown = [
            [method, source, f"{row['seeds']:.0f}", *(cell(row, key) for key in hardnet.METRICS)]
            for method in hardnet.methods(task)
            for source in ("published", "exact", "ours")
            if (row := found.get((name, method, source)))
        ]
        tables.append(f"### {name}\n\n{markdown(header, shown)}")
    return {"tables": "\n".join(tables), "catalogue": _catalogue_table(found)}


def disagreements(found: Mapping[Key, Row]) -> list[Mark]:
    """What is not as published: of `exact` in the decimals printed, of `ours` by Student's test."""
    marks = []
    for (task, method, source), row in found.items():
        theirs = found.get((task, method, "published"))
        if theirs is None or source == "published":
            continue
        for metric in hardnet.METRICS:
            same = (
                all(as_printed(row[key], theirs[key]) for key in (metric, f"{metric}_std"))
                if source == "exact"
                else same_mean(row, theirs, metric) >= LEVEL
            )
            if not same:
                marks.append((task, method, source, metric))
    return marks


def as_printed(value: float, printed: float) -> bool:
    return abs(value - printed) <= 0.5 * 10**-DECIMALS + 1e-9


def same_mean(row: Row, theirs: Row, metric: str) -> float:
    """p-value of Student's test that two means over seeds are of one population, theirs rounded.

    With the pooled variance: five seeds alone would understate it.
    """
    difference = max(abs(row[metric] - theirs[metric]) - 0.5 * 10**-DECIMALS, 0)
    counts = [int(one["seeds"]) for one in (row, theirs)]
    deviations = [
        one[f"{metric}_std"] * math.sqrt(count / (count - 1))
        for one, count in zip((row, theirs), counts, strict=True)
    ]
    if not any(deviations):
        return float(difference == 0)
    samples = (difference, deviations[0], counts[0], 0, deviations[1], counts[1])
    return float(stats.ttest_ind_from_stats(*samples).pvalue)


def _catalogue_table(found: Mapping[Key, Row]) -> str:
    def cell(task: str, name: str) -> str:
        row = found[task, name, "ours"]
        if "mse" not in row:
            return "–"
        text = f"{_number(row['mse'])} [{_number(row['mse_low'])}, {_number(row['mse_high'])}]"
        return text + f" ({row['num_violations']:.0f})" * (row["num_violations"] > 0)

    shown = [
        [f"`{name}`", *(cell(task, name) for task in hardnet.TASKS), _given(name)]
        for name in TRAINED
        if all((task, name, "ours") in found for task in hardnet.TASKS)
    ]
    return markdown(("strategy", *hardnet.TASKS, "is given"), shown)


def _given(name: str) -> str:
    sources = bound_sources(TRAINED[name], BOTH)
    given = [side for side, source in sources.items() if source == "dataset"]
    if given:
        return "both bounds" if len(given) == 2 else f"the {given[0]} bound"
    return "the training range" if any(sources.values()) else "no bound"


def _number(value: float) -> str:
    """Two significant digits at least, and no more decimals than two."""
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def _enforce_tables(rows: Sequence[Row]) -> dict[str, str]:
    header = ("method", "source", "seeds", "MSE", "max violation", "above, %", "below, %")
    theirs, others = (
        [_enforce_cells(row) for row in rows if (row["method"] in enforce.PUBLISHED) is published]
        for published in (True, False)
    )
    return {"theirs": markdown(header, theirs), "catalogue": markdown(header, others)}


def _enforce_cells(row: Row) -> list[str]:
    mse = f"{row['mse']:.5f}"
    if row["source"] == "ours":
        mse += f" ({row['mse_std']:.5f}) [{row['mse_low']:.5f}, {row['mse_high']:.5f}]"
    shares = [f"{row[f'infeasible_{side}']:.1f}" for side in ("above", "below")]
    violation = _number(row["max_violation"]) if row["max_violation"] > enforce.TOLERANCE else "0"
    name = row["method"] if row["method"] == "ENFORCE" else f"`{row['method']}`"
    return [name, row["source"], f"{row['seeds']:.0f}", mse, violation, *shares]


def _keras_tables(rows: Sequence[Row]) -> dict[str, str]:
    keys = (*question.COMPARED, "weights_moved")
    header = ("answer", "ours", "dtype", *question.COMPARED, "weights moved by")
    shown = [
        [row["strategy"], f"`{row['ours']}`", row["dtype"], *(f"{row[key]:.1e}" for key in keys)]
        for row in rows
    ]
    return {"table": markdown(header, shown)}


def _dc3_tables(rows: Sequence[Row]) -> dict[str, str]:
    header = ("method", "source", "seeds", "objective", "gap, %", "equalities", "inequalities")
    return {
        task: markdown(header, [_dc3_cells(row) for row in rows if row["task"] == task])
        for task in dc3.TASKS
    }


def _dc3_cells(row: Row) -> list[str]:
    objective = f"{row['objective']:.{DECIMALS}f}"
    if "seeds" in row:
        objective += f" ({row['objective_std']:.3f})"
    seeds = f"{row['seeds']:.0f}" if "seeds" in row else "–"
    gap = f"{round(100 * row['gap'], 1) + 0:.1f}"  # no -0.0
    return [_named(row), row["source"], seeds, objective, gap, *_violations(row)]


def _named(row: Row) -> str:
    return f"`{row['method']}`" if row["source"] == "ours" else str(row["method"])


def _violations(row: Row) -> list[str]:
    keys = "max_equality", "max_inequality"
    return [f"{row[key]:.1e}" if key in row else "–" for key in keys]


def _fitting_tables(rows: Sequence[Row]) -> dict[str, str]:
    measured = ("MSE of y1", "MSE of y2", "mean residual", "max residual")

    def cell(row: Row, name: str) -> str:
        spread = f" ({row[f'{name}_std']:.1e})" if row["source"] == "ours" else ""
        return f"{row[name]:.2e}{spread}"

    shown = [
        [row["method"], row["source"], f"{row['seeds']:.0f}"]
        + [cell(row, name) for name in fitting.METRICS]
        for row in rows
    ]
    return {"table": markdown(("method", "source", "seeds", *measured), shown)}


def _snarenet_tables(rows: Sequence[Row]) -> dict[str, str]:
    header = ("method", "source", "seeds", "gap", "largest gap", "equalities", "inequalities")
    return {
        task: markdown(header, [_snarenet_cells(row) for row in rows if row["task"] == task])
        for task in snarenet.TASKS
    }


def _snarenet_cells(row: Row) -> list[str]:
    gap = f"{row['gap']:.3g} ({row['gap_std']:.2g})"
    counts = f"{row['seeds']:.0f}", gap, f"{row['gap_max']:.3g}"
    return [_named(row), row["source"], *counts, *_violations(row)]


def _cbf_tables(rows: Sequence[Row]) -> dict[str, str]:
    header = ("method", "source", "seeds", "cost", "largest violation")

    def cell(row: Row, name: str) -> str:
        spread = f" ({row[f'{name}_std']:.1f})" if f"{name}_std" in row else ""
        return f"{row[name]:.1f}{spread}"

    shown = [
        [
            f"`{row['method']}`" if row["source"] == "ours" else row["method"],
            row["source"],
            f"{row['seeds']:.0f}" if "seeds" in row else "–",
            *(cell(row, name) for name in ("cost", "violation")),
        ]
        for row in rows
    ]
    return {"table": markdown(header, shown)}


TABLES: dict[str, Callable[[Sequence[Row]], dict[str, str]]] = {
    "hardnet": _hardnet_tables,
    "enforce": _enforce_tables,
    "keras": _keras_tables,
    "dc3": _dc3_tables,
    "fitting": _fitting_tables,
    "snarenet": _snarenet_tables,
    "cbf": _cbf_tables,
}
"""By study: its tables, by their names in the text."""
