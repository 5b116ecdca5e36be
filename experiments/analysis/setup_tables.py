"""What a study ran, as tables: choices, failures, strategies, datasets, settings, sessions."""

import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from experiments.analysis.columns import settled
from experiments.analysis.effects import ends_without_gradient
from experiments.analysis.statistics import FLOOR
from experiments.analysis.study import Study
from experiments.analysis.tables import GUARANTEE, STRATEGY, Column, Entry, Table
from experiments.cells import UNTRAINED, Place, canonical
from experiments.console import trimmed
from experiments.data.catalogue import DATASETS
from experiments.training.backbones import AUTOENCODERS, BACKBONES
from experiments.training.baselines import BASELINES
from experiments.training.strategies import holds, table_row
from experiments.training.tuning import LEARNING_RATES
from experiments.usage import in_order

LONGEST = 200  # characters of names in a row
LATE = 2  # looks at validation: a run that is best there was still becoming better
PLACE = STRATEGY, Column("dataset"), Column("backbone")
SUMMARY = Column("summary", "what it is")
FIXED = {
    "network": "LSTM encoder, whose last state is the code; LSTM decoder; a dense layer for every "
    "step; initial weights as in Keras",
    "optimiser": "Adam, gradients clipped by their global norm",
    "an epoch": "batches of windows drawn at random, as many whatever the dataset's size",
    "parameters kept": "those that err least on validation, of all looks in the training curves",
    "splits": "blocks of neighbouring days, or in order where made; sources, licences and splits "
    "are in experiments/data/README.md",
}


def every(study: Study) -> Iterator[Table]:
    yield failed(study)
    yield settings(study)
    yield datasets(study)
    yield strategies(study)
    yield chosen(study)
    yield checks(study)
    yield sessions(study)


def failed(study: Study) -> Table:
    """Cells that failed, with the reason."""
    cells = [(record.cell, str(record.error)) for record in study.shown if not record.is_done]
    rows = [(*cell.place, cell.phase, cell.seed, reason) for cell, reason in cells]
    return Table(
        "failed",
        "failures",
        "Failed cells",
        (*PLACE, Column("phase"), Column("seed"), Column("reason")),
        sorted(rows, key=lambda row: (*row[:4], str(row[4]))),
        keys=3,
        notes=(f"A failed final cell counts as a skill of {FLOOR:g}.",),
    )


def settings(study: Study) -> Table:
    """Model, training and machine: all that the cells share."""
    manifest, plan = study.manifest, study.manifest.get("plan", {})
    shared: defaultdict[str, set[str]] = defaultdict(set)
    for record in study.records:
        for key, value in record.cell.settings.items():
            shared[key].add(str(value))
    found = (
        FIXED
        | _of_others(study)
        | {key: ", ".join(in_order(values, ())) for key, values in shared.items()}
    )
    found |= {key: str(plan[key]) for key in ("seeds", "tuning_seeds") if key in plan}
    rows = [(key.replace("_", " "), value) for key, value in found.items()]
    tried = {of.cell.training.get("learning_rate") for of in study.records} - {None}
    rows.append(("learning rates tried", _numbers(sorted(tried, key=_defaults_first))))
    rows += [(name, str(value)) for name, value in manifest.get("versions", {}).items()]
    for name in ("processor", "devices", "where", "revision", "sources"):
        if value := manifest.get(name):
            rows.append((name, ", ".join(value) if isinstance(value, list) else str(value)))
    if manifest.get("dirty"):
        rows.append(("working tree", "with changes that are not committed"))
    columns = Column("setting"), Column("value")
    return Table(
        "settings", "settings-each", "Model, training, versions and machine", columns, rows
    )


def _of_others(study: Study) -> dict[str, str]:
    """What is fixed, where not all networks are LSTMs, or not all data of the table."""
    networks = {record.cell.network for record in study.records} - {*AUTOENCODERS, UNTRAINED}
    data = set(study.every_dataset) - DATASETS.keys()
    found = {}
    if networks:
        names = trimmed(", ".join(in_order(networks, BACKBONES)), LONGEST)
        found["network"] = f"bottleneck, conditioned: {FIXED['network']}; another: {names}"
    if data:
        names = trimmed(", ".join(in_order(data, DATASETS)), LONGEST)
        found["splits"] = f"{FIXED['splits']}; of {names} by its file, or 70/15/15 in order"
    return found


def _defaults_first(rate: float) -> tuple[int, float]:
    known = rate in LEARNING_RATES
    return LEARNING_RATES.index(rate) if known else len(LEARNING_RATES), rate


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def datasets(study: Study) -> Table:
    """What was compared on."""
    columns = {
        name: trimmed(", ".join(study.about(name).get("columns") or ()), LONGEST)
        for name in study.every_dataset
    }

    def row(name: str) -> tuple[Entry, ...]:
        found = study.about(name)
        entry = DATASETS.get(name)
        return (
            name,
            study.roles[name].replace("_", " "),
            found.get("group") or (entry.group if entry else name),
            entry.summary if entry else study.title(name) or "a file of the user's own",
            " / ".join(str(count) for count in found.get("windows", {}).values()),
            " × ".join(str(size) for size in found.get("targets", [])[1:]),
            ", ".join(found.get("bounds", [])),
            found.get("scale"),
            trimmed(found.get("unit") or ""),
            found.get("infeasible"),
            *([columns[name]] if any(columns.values()) else []),
        )

    return Table(
        "datasets",
        "settings-each",
        "The datasets",
        (
            Column("dataset"),
            Column("role"),
            Column("group"),
            SUMMARY,
            Column("windows", "windows: train / validation / test"),
            Column("steps", "steps × features"),
            Column("bounds"),
            Column("scale", "one scaled unit"),
            Column("unit"),
            Column("infeasible", "targets beyond the bound", percent=True),
            *([Column("columns")] if any(columns.values()) else []),
        ),
        [row(name) for name in study.every_dataset],
    )


def strategies(study: Study) -> Table:
    """What was compared, with each grid."""

    def row(name: str) -> tuple[Entry, ...]:
        if found := table_row(name):
            grid = "; ".join(f"{key} {_numbers(of)}" for key, of in found.grid.items())
            return name, found.summary, holds(name), grid, found.source
        _, summary = BASELINES.get(name, (None, "a function of the user's own"))
        return name, summary, holds(name), "", ""

    return Table(
        "strategies",
        "settings-each",
        "The strategies and their grids, the default first",
        (STRATEGY, SUMMARY, GUARANTEE, Column("grid"), Column("source")),
        [row(name) for name in study.strategies],
    )


def chosen(study: Study) -> Table:
    """The learning rate and hyperparameters of the final cells, and what validation said."""
    tried: Any = defaultdict(lambda: defaultdict(list))  # by place and point
    for record in study.records:
        if record.cell.phase == "tune" and record.metrics.get("mse") is not None:
            tried[record.cell.place][canonical(record.cell.tuned)].append(record.metrics["mse"])
    rows: dict[tuple[Place, str], tuple[Entry, ...]] = {}
    for cell in (record.cell for record in study.finals if record.cell.is_trained):
        point, points = canonical(cell.tuned), tried[cell.place]
        hyper = ", ".join(f"{name} {value:g}" for name, value in cell.hyperparameters.items())
        error = sum(points[point]) / len(points[point]) if point in points else None
        rate = cell.tuned.get("learning_rate")
        rows[cell.place, point] = (*cell.place, rate, hyper, error, len(points))

    def order(key: tuple[Place, str]) -> tuple[Any, ...]:
        (strategy, dataset, _), _ = key
        return study.strategies.index(strategy), study.every_dataset.index(dataset), key

    return Table(
        "chosen",
        "chosen",
        "Learning rate and hyperparameters of the final cells",
        (
            *PLACE,
            Column("learning_rate"),
            Column("hyperparameters"),
            Column("validation_mse", "mse on validation"),
            Column("tried", "points tried"),
        ),
        [rows[key] for key in sorted(rows, key=order)],
        keys=3,
        notes=(
            "Chosen by the least mean mse on validation over tuning seeds, which the final seeds "
            "are not among. No points tried: the defaults.",
        ),
    )


def checks(study: Study) -> Table:
    """Whether runs were long enough, and enough learning rates tried, by backbone."""
    rates = defaultdict(set)
    for cell in (record.cell for record in study.records):
        if cell.phase == "tune" and cell.is_trained:
            rates[cell.place].add(cell.tuned["learning_rate"])

    def row(name: str, backbones: Sequence[str]) -> tuple[Entry, ...]:
        here = [r for r in study.finals if r.is_done and r.cell.backbone in backbones]
        ends = [(r.cell, study.endings[r.id]) for r in here if r.id in study.endings]
        whole = [ending for cell, ending in ends if ending.epoch >= cell.epochs]
        late = [ending for ending in whole if ending.looks_since_best < LATE]
        picked = {r.cell.place: r.cell.tuned["learning_rate"] for r in here if rates[r.cell.place]}
        edges = [rate in (min(rates[of]), max(rates[of])) for of, rate in picked.items()]
        dead = [ends_without_gradient(r, study.roles) for r in here]
        return (
            name,
            len(here),
            _share(len(whole), len(ends)),
            _share(len(late), len(ends)),
            _share(sum(dead), len(here)),
            len(picked) or None,
            _share(sum(edges), len(edges)),
        )

    return Table(
        "checks",
        "settings-each",
        "Were runs long enough, and enough learning rates tried?",
        (
            Column("backbone"),
            Column("runs"),
            Column("to_the_end", "ran to the last epoch", percent=True),
            Column("best_at_the_end", f"and best at one of the last {LATE} looks", percent=True),
            Column("never_start", "end without a gradient", percent=True),
            Column("choices"),
            Column("at_an_edge", "of the least or greatest learning rate tried", percent=True),
        ),
        [row(name, [name]) for name in study.backbones] + [row("all", study.backbones)],
        notes=("Final runs. A choice is of a strategy, dataset and backbone that were tuned.",),
    )


def _share(part: int, whole: int) -> float | None:
    return settled(part / whole) if whole else None


def sessions(study: Study) -> Table:
    """When the cells were made, and by which command."""
    rows = [
        (
            str(session.get("started") or ""),
            str(session.get("finished") or ""),
            command(session.get("command") or []),
            str(session.get("revision") or "")[:12] + " with changes" * bool(session.get("dirty")),
        )
        for session in study.manifest.get("sessions", [])
    ]
    return Table(
        "sessions",
        "reproduce",
        "Sessions",
        (Column("started"), Column("finished"), Column("command"), Column("revision")),
        rows,
    )


def command(arguments: Sequence[str]) -> str:
    """A sweep's command line, as one types it."""
    return shlex.join(["python", "-m", "experiments.sweep", *map(str, arguments[1:])])
