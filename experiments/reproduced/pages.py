"""A study's page: its template in `templates/`, filled from the rows of its CSV."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scipy import stats

from experiments.reproduced import enforce, hardnet, question
from experiments.reproduced.tables import Row
from experiments.strategies import BOTH, TRAINED, bound_sources
from experiments.tables import markdown
from experiments.training import Settings
from experiments.tuning import LEARNING_RATES

TEMPLATES = Path(__file__).parent / "templates"
LEVEL = 0.01  # of the test that marks a disagreement
DECIMALS = 2  # of HardNet's published numbers
Key = tuple[str, str, str]  # task, method and source
Mark = tuple[str, str, str, str]  # and metric

EXPLANATIONS = {
    ("pwcbox", "DC3"): (
        "their correction steps the wrong way below the lower bound. The derivative of the squared "
        "violation has opposite signs on the two sides; in their `get_resid_grad` it has the same, "
        "so that an output below is pushed further down. The exact row has that step, and comes "
        "out as published; ours has the derivative."
    ),
}
"""Why a method's numbers on a task are not the published ones."""


def _fill(study: str, **values: object) -> str:
    return (TEMPLATES / f"{study}.md").read_text(encoding="utf-8").format(**values)


def hardnet_page(rows: Sequence[Row]) -> str:
    found = {(row["task"], row["method"], row["source"]): row for row in rows}
    marks = disagreements(found)
    exact = [key for key in found if key[2] == "exact"]
    cells = len(hardnet.METRICS) * len(exact)
    nn = [found["pwc", "NN", source]["mse_std"] for source in ("published", "ours")]
    return _fill(
        "hardnet",
        same=cells - sum(source == "exact" for _, _, source, _ in marks),
        cells=cells,
        seeds=hardnet.SEEDS,
        catalogue_seeds=hardnet.CATALOGUE_SEEDS,
        level=LEVEL,
        tables="\n".join(_hardnet_table(task, found, marks) for task in hardnet.TASKS),
        disagreements=_explained(marks),
        theirs_nn=_number(nn[0]),
        ours_nn=_number(nn[1]),
        catalogue=_catalogue_table(found),
        **{
            f"{name}_{task}": _number(found[task, method, "ours"]["mse"])
            for task in hardnet.TASKS
            for name, method in {
                "nn": "NN",
                "projected": "HardNet-Aff",
                "late": "clip_at_evaluation",
                "through": "straight_through_clip",
            }.items()
        },
    )


def _hardnet_table(task: str, found: Mapping[Key, Row], marks: Sequence[Mark]) -> str:
    def cell(row: Row, metric: str) -> str:
        text = f"{row[metric]:.{DECIMALS}f} ({row[f'{metric}_std']:.{DECIMALS}f})"
        if metric == "mse" and row["source"] == "ours":
            text += f" [{row['mse_low']:.{DECIMALS}f}, {row['mse_high']:.{DECIMALS}f}]"
        return text + " ≠" * ((task, row["method"], row["source"], metric) in marks)

    shown = [
        [method, source, f"{row['seeds']:.0f}", *(cell(row, metric) for metric in hardnet.METRICS)]
        for method in hardnet.methods(hardnet.TASKS[task])
        for source in ("published", "exact", "ours")
        if (row := found.get((task, method, source)))
    ]
    header = ("method", "source", "seeds", "MSE", "max violation", "mean violation", "violations")
    return f"### {task}\n\n{markdown(header, shown)}"


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


def _explained(marks: Sequence[Mark]) -> str:
    places: dict[tuple[str, str], list[str]] = {}
    for task, method, source, metric in marks:
        places.setdefault((task, method), []).append(f"{metric} ({source})")
    lines = [
        f"- **{method} on `{task}`**, {', '.join(what)}: "
        + EXPLANATIONS.get((task, method), "not explained.")
        for (task, method), what in places.items()
    ]
    return "\n".join(lines or ["- No number is marked."])


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


def enforce_page(rows: Sequence[Row]) -> str:
    found = {(row["method"], row["source"]): row for row in rows}
    header = ("method", "source", "seeds", "MSE", "max violation", "above, %", "below, %")
    theirs, others = (
        [row for row in rows if (row["method"] in enforce.PUBLISHED) is published]
        for published in (True, False)
    )
    pairs = [(found[name, "ours"], found[name, "published"]) for name in enforce.PUBLISHED]
    return _fill(
        "enforce",
        seeds=enforce.SEEDS,
        catalogue_seeds=enforce.CATALOGUE_SEEDS,
        theirs=markdown(header, map(_enforce_cells, theirs)),
        catalogue=markdown(header, map(_enforce_cells, others)),
        distances=_exact_distances(found),
        places="\n  ".join(_place(*pair) for pair in pairs),
        **{
            name: f"{found[method, 'ours']['mse']:.4f}"
            for name, method in {
                "free": "unconstrained",
                "enforce": "ENFORCE",
                "late": "clip_at_evaluation",
                "clip": "clip",
            }.items()
        },
    )


def _enforce_cells(row: Row) -> list[str]:
    mse = f"{row['mse']:.5f}"
    if row["source"] == "ours":
        mse += f" ({row['mse_std']:.5f}) [{row['mse_low']:.5f}, {row['mse_high']:.5f}]"
    shares = [f"{row[f'infeasible_{side}']:.1f}" for side in ("above", "below")]
    violation = _number(row["max_violation"]) if row["max_violation"] > enforce.TOLERANCE else "0"
    name = row["method"] if row["method"] == "ENFORCE" else f"`{row['method']}`"
    return [name, row["source"], f"{row['seeds']:.0f}", mse, violation, *shares]


def _exact_distances(found: Mapping[tuple[str, str], Row]) -> str:
    errors = {
        name: [found[name, source]["mse"] for source in ("exact", "published")]
        for name in enforce.PUBLISHED
        if (name, "exact") in found
    }
    return ", ".join(
        f"{100 * (ours / theirs - 1):+.1f} % of the MSE of {name}"
        for name, (ours, theirs) in errors.items()
    )


def _place(ours: Row, theirs: Row) -> str:
    distance = (theirs["mse"] - ours["mse"]) / ours["mse_std"]
    side = "above" if distance > 0 else "below"
    return (
        f"The published {theirs['mse']:.5f} of {theirs['method']} lies {abs(distance):.1f} "
        f"standard deviations {side} the mean of ours."
    )


def keras_page(rows: Sequence[Row]) -> str:
    keys = ("raw", "output", "losses", "weights", "weights_moved")
    header = ("answer", "ours", "dtype", "raw", "output", "losses", "weights", "weights moved by")
    shown = [
        [row["strategy"], f"`{row['ours']}`", row["dtype"], *(f"{row[key]:.1e}" for key in keys)]
        for row in rows
    ]
    return _fill(
        "keras",
        hidden=question.HIDDEN,
        updates=question.UPDATES,
        table=markdown(header, shown),
        tolerance=question.TOLERANCE,
        our_rate=LEARNING_RATES[0],
        clip_norm=Settings().clip_norm,
    )


PAGES: dict[str, Callable[[Sequence[Row]], str]] = {
    "hardnet": hardnet_page,
    "enforce": enforce_page,
    "keras": keras_page,
}
