"""What a study ran, as tables: choices, failures, strategies, datasets, settings, sittings."""

import json
import shlex
from collections.abc import Sequence

from experiments.baselines import BASELINES
from experiments.catalogue import DATASETS
from experiments.strategies import COUPLED, TRAINED
from experiments.study import Study, finals, holds
from experiments.tables import Column, Entry, Table
from experiments.tuning import LEARNING_RATES, Place, place_of, tuned_of

STRATEGY = Column("strategy", "strategy")
GUARANTEE = Column("guarantee", "bound holds")


def chosen(study: Study) -> Table:
    """The learning rate and hyperparameters of the final cells, and what validation said."""
    tried: dict[Place, dict[str, list[float]]] = {}
    for record in study.records:
        if record["config"]["phase"] == "tune" and record["metrics"].get("mse") is not None:
            point = json.dumps(tuned_of(record["config"]), sort_keys=True)
            points = tried.setdefault(place_of(record["config"]), {})
            points.setdefault(point, []).append(record["metrics"]["mse"])
    rows: dict[tuple[Place, str], tuple[Entry, ...]] = {}
    for record in finals(study):
        config = record["config"]
        if config["backbone"] == "none":
            continue
        place, values = place_of(config), tuned_of(config)
        point = json.dumps(values, sort_keys=True)
        points = tried.get(place, {})
        hyper = ", ".join(f"{k} {v:g}" for k, v in config["strategy"]["hyperparameters"].items())
        error = sum(points[point]) / len(points[point]) if point in points else None
        rows[place, point] = (*place, values.get("learning_rate"), hyper, error, len(points))
    names, datasets = study.strategies, study.every_dataset
    order = sorted(rows, key=lambda key: (names.index(key[0][0]), datasets.index(key[0][1]), key))
    return Table(
        "chosen",
        "Learning rate and hyperparameters of the final cells",
        (
            STRATEGY,
            Column("dataset", "dataset"),
            Column("backbone", "backbone"),
            Column("learning_rate", "learning rate"),
            Column("hyperparameters", "hyperparameters"),
            Column("validation_mse", "mse on validation"),
            Column("tried", "points tried"),
        ),
        tuple(rows[key] for key in order),
        keys=3,
        notes=(
            "Chosen by the least mean mse on validation over tuning seeds, which the final seeds "
            "are not among. No points tried: the defaults.",
        ),
    )


def failed(study: Study) -> Table:
    """Cells that failed, with the reason."""
    rows = [
        (*place_of(r["config"]), r["config"]["phase"], r["config"]["seed"], str(r["error"]))
        for r in study.records
        if r["status"] == "failed"
    ]
    return Table(
        "failed",
        "Failed cells",
        (
            STRATEGY,
            Column("dataset", "dataset"),
            Column("backbone", "backbone"),
            Column("phase", "phase"),
            Column("seed", "seed"),
            Column("reason", "reason"),
        ),
        tuple(sorted(rows, key=lambda row: (*row[:4], str(row[4])))),
        keys=3,
        notes=("A failed final cell counts as a skill of -1.",),
    )


FIXED = {
    "network": "LSTM encoder, whose last state is the code; LSTM decoder; a dense layer for every "
    "step; initial weights as in Keras",
    "optimiser": "Adam, gradients clipped by their global norm",
    "an epoch": "batches of windows drawn at random, as many whatever the dataset's size",
    "parameters kept": "those that err least on validation, of all looks in the training curves",
    "splits": "blocks of neighbouring days, or in order where made; sources, licences and splits "
    "are in experiments/data/README.md",
}


def settings(study: Study) -> Table:
    """Model, training and machine: all that the cells share."""
    manifest = study.manifest
    plan, model = manifest.get("plan", {}), _shared(study)
    rows: list[tuple[Entry, ...]] = [*FIXED.items(), *model.items()]
    rows += [
        (name.replace("_", " "), str(plan[name]))
        for name in ("seeds", "tuning_seeds")
        if name in plan
    ]
    rows.append(("learning rates tried", ", ".join(f"{rate:g}" for rate in LEARNING_RATES)))
    rows += [(name, str(value)) for name, value in manifest.get("versions", {}).items()]
    for name in ("processor", "devices", "where", "revision", "sources"):
        value = manifest.get(name)
        if value:
            rows.append((name, ", ".join(value) if isinstance(value, list) else str(value)))
    if manifest.get("dirty"):
        rows.append(("working tree", "with changes that are not committed"))
    return Table(
        "settings",
        "Model, training, versions and machine",
        (Column("setting", "setting"), Column("value", "value")),
        tuple(rows),
    )


def _shared(study: Study) -> dict[str, str]:
    """Settings of the trained cells but for the learning rate."""
    found: dict[str, set[str]] = {}
    for record in study.records:
        config = record["config"]
        for key, value in {**config.get("model", {}), **config.get("training", {})}.items():
            if key != "learning_rate":
                found.setdefault(key.replace("_", " "), set()).add(str(value))
    return {key: ", ".join(sorted(values)) for key, values in found.items()}


def strategies(study: Study) -> Table:
    """What was compared, with each grid."""
    known = TRAINED | COUPLED

    def row(name: str) -> tuple[Entry, ...]:
        if name in BASELINES:
            return name, BASELINES[name][1], holds(name), "", ""
        if name not in known:
            return name, "a function of the user's own", holds(name), "", ""
        found = known[name]
        grid = "; ".join(
            f"{key} {', '.join(f'{value:g}' for value in values)}"
            for key, values in found.grid.items()
        )
        return name, found.summary, holds(name), grid, found.source

    return Table(
        "strategies",
        "The strategies and their grids, the default first",
        (
            STRATEGY,
            Column("summary", "what it is"),
            GUARANTEE,
            Column("grid", "grid"),
            Column("source", "source"),
        ),
        tuple(map(row, study.strategies)),
    )


def datasets(study: Study) -> Table:
    """What it was compared on."""

    def row(name: str) -> tuple[Entry, ...]:
        found = study.manifest.get("datasets", {}).get(name, {})
        entry = DATASETS.get(name)
        windows = " / ".join(str(count) for count in found.get("windows", {}).values())
        shape = " × ".join(str(size) for size in found.get("targets", [])[1:])
        return (
            name,
            study.roles[name].replace("_", " "),
            found.get("group") or (entry.group if entry else name),
            entry.summary if entry else "a file of the user's own",
            windows,
            shape,
            ", ".join(found.get("bounds", [])),
            found.get("scale"),
            found.get("unit", ""),
            found.get("infeasible"),
        )

    return Table(
        "datasets",
        "The datasets",
        (
            Column("dataset", "dataset"),
            Column("role", "role"),
            Column("group", "group"),
            Column("summary", "what it is"),
            Column("windows", "windows: train / validation / test"),
            Column("steps", "steps × features"),
            Column("bounds", "bounds"),
            Column("scale", "one scaled unit"),
            Column("unit", "unit"),
            Column("infeasible", "targets beyond the bound", percent=True),
        ),
        tuple(map(row, study.every_dataset)),
    )


def sittings(study: Study) -> Table:
    """When the cells were made, and by which command."""
    return Table(
        "sittings",
        "Sittings",
        (
            Column("started", "started"),
            Column("finished", "finished"),
            Column("command", "command"),
            Column("revision", "revision"),
        ),
        tuple(
            (
                str(sitting.get("started") or ""),
                str(sitting.get("finished") or ""),
                command(sitting.get("command") or []),
                str(sitting.get("revision") or "")[:12]
                + " with changes" * bool(sitting.get("dirty")),
            )
            for sitting in study.manifest.get("sittings", [])
        ),
    )


def command(arguments: Sequence[str]) -> str:
    """A sweep's command line, as one types it."""
    return shlex.join(["python", "-m", "experiments.sweep", *map(str, arguments[1:])])
