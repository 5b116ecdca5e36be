"""Presets and flags to cells, and which of them a folder's records leave to do."""

import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.baselines import BASELINES
from experiments.catalogue import DATASETS
from experiments.choices import UsageError, choose
from experiments.datasets import Dataset, load
from experiments.store import Cell, Record, identity
from experiments.strategies import (
    COUPLED,
    TRAINED,
    Strategy,
    bound_sources,
    check_fit,
    resolve,
)
from experiments.training import BACKBONES, DTYPES, Settings
from experiments.tuning import FIRST_TUNING_SEED, Choice, Choices, grid, place_of, tuned_of

METRIC_VERSION = 1
SPLIT_OF_PHASE = {"tune": "validation", "final": "test"}
ALWAYS = ("unconstrained", "clip")


@dataclass(frozen=True)
class Plan:
    """What a sweep covers."""

    strategies: tuple[str, ...]  # names of the table, or module:function
    datasets: tuple[str, ...]  # names of the table, or paths to .npz
    backbones: tuple[str, ...] = BACKBONES[:1]
    seeds: int = 2
    hidden: int = 32
    dtype: str = "float32"  # of the factors of the recurrent products
    epochs: int = 50
    tuning_seeds: int = 0  # with which hyperparameters are chosen; 0: the defaults are taken

    @property
    def settings(self) -> Settings:
        return Settings(hidden=self.hidden, dtype=self.dtype, epochs=self.epochs)


REFERENCE: dict[str, Any] = {
    "backbones": BACKBONES,
    "seeds": 10,
    "hidden": 64,
    "epochs": 60,
    "tuning_seeds": 1,
}
"""What the presets of the reference run have in common."""

PRESETS = {
    "smoke": Plan(
        strategies=(*ALWAYS, "relu_offset", "squared_hinge", *BASELINES),
        datasets=("irradiance", "irradiance_autoencoder"),
        hidden=8,
        epochs=2,
    ),
    "default": Plan(
        # One or two of each family; `full` has every row.
        strategies=(
            *ALWAYS,
            "straight_through_clip",
            "smooth_clip",
            "relu_offset",
            "softplus_offset",
            "stretched_tanh",
            "half_tanh",
            "tanh_interval",
            "tanh_range",
            "clip_to_sequence_maximum",
            "clip_at_evaluation",
            "clip_with_displacement",
            "squared_hinge",
            "augmented_lagrangian",
            "offset_unconstrained",
            *BASELINES,
        ),
        datasets=(
            "household_hourly",
            "irradiance",
            "irradiance_autoencoder",
            "dew_point",
            "sines",
            "spectrum",
        ),
    ),
    "full": Plan(
        strategies=(*TRAINED, *BASELINES),
        # Not those of several sites in one, whose sites are there, nor the 144 steps of household.
        datasets=tuple(
            name
            for name, entry in DATASETS.items()
            if name not in ("irradiance", "dew_point", "household") and entry.role != "coupled"
        ),
        **REFERENCE,
    ),
    "budgets": Plan(
        strategies=(
            *ALWAYS,
            "straight_through_clip",
            "smooth_clip",
            "sigmoid_interval",
            "squared_hinge",
            *COUPLED,
            *BASELINES,
        ),
        datasets=("household_hourly", "closure_greensboro"),
        **REFERENCE,
    ),
    "supplement": Plan(
        # A cell of 144 steps takes six times as long as one of 24.
        strategies=(
            *ALWAYS,
            "straight_through_clip",
            "smooth_clip",
            "tanh_interval",
            "clip_at_evaluation",
            "squared_hinge",
            *BASELINES,
        ),
        datasets=("household",),
        **{**REFERENCE, "seeds": 5},
    ),
}


def make_plan(preset: str, **changes: Any) -> Plan:
    """A preset with changes; None leaves a field as it is.

    `unconstrained` and `clip` are always among the strategies.

    Raises:
      UsageError: for an unknown name or a value that is not positive; lists what is valid.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    for name in given.keys() & {"strategies", "datasets", "backbones"}:
        if isinstance(given[name], str):
            raise UsageError(f"{name} must be a list of names, got {given[name]!r}.")
        given[name] = tuple(map(str, given[name]))
    plan = replace(choose("preset", preset, PRESETS), **given)
    for name, least in {"seeds": 1, "tuning_seeds": 0, "hidden": 1, "epochs": 1}.items():
        if getattr(plan, name) < least:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} must be at least {least}, got {getattr(plan, name)}.")
    choose("dtype", plan.dtype, dict.fromkeys(DTYPES))
    tables: dict[str, dict[str, Any]] = {
        "strategies": {**TRAINED, **COUPLED, **BASELINES},
        "datasets": DATASETS,
        "backbones": dict.fromkeys(BACKBONES),
    }
    for name, table in tables.items():
        kind = {"strategies": "strategy"}.get(name, name.removesuffix("s"))
        for value in getattr(plan, name):
            if not (kind == "dataset" and value.endswith(".npz")) and not (
                kind == "strategy" and ":" in value
            ):
                choose(kind, value, table)
        if not getattr(plan, name):
            raise UsageError(f"--{name} is empty; valid names: {', '.join(table)}.")
    return replace(
        plan,
        strategies=tuple(dict.fromkeys((*ALWAYS, *plan.strategies))),
        datasets=tuple(dict.fromkeys(plan.datasets)),
        backbones=tuple(dict.fromkeys(plan.backbones)),
    )


def cells(
    plan: Plan,
    dataset: Dataset,
    strategies: Sequence[Strategy],
    phase: str = "final",
    chosen: Choices | None = None,
) -> list[Cell]:
    """Every cell of one dataset and phase, as plain JSON: trained rows, then, in the final phase,
    untrained baselines.

    Args:
      plan: the plan.
      dataset: the dataset.
      strategies: rows of the table, or the user's own.
      phase: "tune" for the whole grid of each, or "final".
      chosen: what the final phase runs, where it is not the defaults.
    """
    settings = asdict(plan.settings)
    model = {name: settings.pop(name) for name in ("hidden", "dtype")}
    base = {
        "dataset": {"name": dataset.name, "hash": dataset.hash},
        "phase": phase,
        "metric_version": METRIC_VERSION,
    }
    tuning = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + plan.tuning_seeds)

    def choices(strategy: Strategy, backbone: str) -> list[Choice]:
        points = grid(strategy)
        place = strategy.name, dataset.name, backbone
        return points if phase == "tune" else [(chosen or {}).get(place, points[0])]

    trained = [
        {
            **base,
            "strategy": {
                "name": strategy.name,
                "hyperparameters": choice.hyperparameters,
                "bounds": bound_sources(strategy, dataset.sides()),
                **({"hash": strategy.hash} if strategy.hash else {}),
            },
            "backbone": backbone,
            "seed": seed,
            "model": model,
            "training": {**settings, "learning_rate": choice.learning_rate},
        }
        for backbone in plan.backbones
        for strategy in strategies
        for choice in choices(strategy, backbone)
        for seed in (tuning if phase == "tune" else range(plan.seeds))
    ]
    untrained = [
        {
            **base,
            "strategy": {"name": name, "hyperparameters": {}, "bounds": {}},
            "backbone": "none",
            "seed": 0,
            "model": {},
            "training": {},
        }
        for name in plan.strategies
        if name in BASELINES and phase == "final"
    ]
    return trained + untrained


def settings_of(cell: Cell) -> Settings:
    """What a cell's runner is compiled for."""
    values = {**cell["model"], **cell["training"]}
    return Settings(**{field.name: values[field.name] for field in fields(Settings)})


@dataclass(frozen=True)
class Layout:
    """A plan with its datasets loaded."""

    datasets: dict[str, Dataset]  # by the name that cells and records have
    given: dict[str, str]  # by that name: the name or absolute path to load it by
    strategies: tuple[str, ...]  # with a network
    phase: str  # "tune", or "final"
    cells: dict[str, Cell]  # of this phase, by id
    later: tuple[Cell, ...]  # of the phase after it, as they are without tuning


def lay_out(plan: Plan, allow_infeasible: bool = False) -> Layout:
    """Load a plan's datasets and list the cells of its first phase.

    Raises:
      UsageError: where something given cannot be used: says what.
    """
    rows = [resolve(name) for name in plan.strategies if name not in BASELINES]
    datasets: dict[str, Dataset] = {}
    given: dict[str, str] = {}
    for name in plan.datasets:
        dataset = load(name, allow_infeasible)
        if dataset.name in datasets:
            raise UsageError(
                f"{name} and {given[dataset.name]} would both be called {dataset.name}: rename one."
            )
        sizes = {plan.settings.batch, *np.bincount(dataset.split).tolist()}
        for strategy in rows:
            if strategy.coupled and dataset.sum_upper is None:
                raise UsageError(
                    f"{strategy.name} shares an upper bound of the features' sum, but {name} has "
                    "none (sum_upper)."
                )
            if strategy.hash:  # the user's own
                check_fit(strategy, dataset, sizes)
        datasets[dataset.name] = dataset
        given[dataset.name] = name if name in DATASETS else str(Path(name).absolute())
    names = tuple(row.name for row in rows)
    final = final_phase(Layout(datasets, given, names, "tune", {}, ()), plan)
    if not plan.tuning_seeds:
        return final
    found = [cell for dataset in datasets.values() for cell in cells(plan, dataset, rows, "tune")]
    return replace(
        final, phase="tune", cells=_by_identity(found), later=tuple(final.cells.values())
    )


def final_phase(layout: Layout, plan: Plan, chosen: Choices | None = None) -> Layout:
    """The layout of the final phase, once hyperparameters are chosen."""
    rows = [resolve(name) for name in layout.strategies]
    found = [
        cell
        for dataset in layout.datasets.values()
        for cell in cells(plan, dataset, rows, "final", chosen)
    ]
    return replace(layout, phase="final", cells=_by_identity(found), later=())


def by_dataset(layout: Layout) -> list[Layout]:
    """What is run in turn: each dataset by itself where it is tuned first, so that datasets are
    finished one after the other; else all at once."""
    if not layout.later:
        return [layout]
    return [
        replace(
            layout,
            datasets={name: dataset},
            given={name: layout.given[name]},
            cells={k: cell for k, cell in layout.cells.items() if cell["dataset"]["name"] == name},
            later=tuple(cell for cell in layout.later if cell["dataset"]["name"] == name),
        )
        for name, dataset in layout.datasets.items()
    ]


def _by_identity(cells: Iterable[Cell]) -> dict[str, Cell]:
    return {identity(cell): cell for cell in cells}


def in_groups(cells: Iterable[Cell]) -> dict[tuple[str, str], list[Cell]]:
    """By dataset and backbone: what is compiled together."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell["dataset"]["name"], cell["backbone"]), []).append(cell)
    return groups


def compilations(layout: Layout, cells: Iterable[Cell]) -> int:
    """How often the runner is compiled for these cells: datasets of the same shapes share it."""

    def shapes(name: str) -> tuple:
        dataset = layout.datasets[name]
        splits = tuple(np.bincount(dataset.split))
        return dataset.inputs.shape, dataset.targets.shape, dataset.sides(), splits

    trained = (cell for cell in cells if cell["backbone"] != "none")
    return len({(shapes(name), backbone) for name, backbone in in_groups(trained)})


def check_compatible(layout: Layout, records: Iterable[Record]) -> None:
    """Refuse to extend a folder by cells of another model or training: in its tables they could
    not be told apart.

    Raises:
      UsageError: with the first setting that differs.
    """

    def settings(cell: Cell) -> dict[str, Any]:
        found = {**cell["model"], **cell["training"]}
        return {name: value for name, value in found.items() if name != "learning_rate"}

    planned = next((settings(c) for c in layout.cells.values() if c["model"]), {})
    tuned = {place_of(cell): tuned_of(cell) for cell in layout.cells.values()}
    for record in records:
        place, present = place_of(record["config"]), tuned_of(record["config"])
        if record["config"]["phase"] == layout.phase == "final" and tuned.get(place, present) != (
            present
        ):
            raise UsageError(
                f"The folder holds final cells of {' '.join(place)} with {present}, this plan "
                f"chose {tuned[place]}. Give another --out."
            )
        present = settings(record["config"]) if record["config"]["model"] else planned
        for name in sorted(planned.keys() | present.keys()):
            if planned.get(name) != present.get(name):
                raise UsageError(
                    f"The folder holds cells with {name} {present.get(name)}, this plan has "
                    f"{name} {planned.get(name)}. Give another --out."
                )


def stale_reasons(layout: Layout, records: Iterable[Record], sources: str) -> dict[str, str]:
    """Why records are not what this code and these data would give, by id."""
    rows = {c["strategy"]["name"]: c["strategy"].get("hash") for c in layout.cells.values()}
    reasons = {}
    for record in records:
        config = record["config"]
        dataset, strategy = config["dataset"], config["strategy"]
        planned = layout.datasets.get(dataset["name"])
        if config["metric_version"] != METRIC_VERSION:
            reason = f"metrics of version {config['metric_version']}, now {METRIC_VERSION}"
        elif planned and planned.hash != dataset["hash"]:
            reason = f"the data of {dataset['name']} changed"
        elif strategy["name"] in rows and rows[strategy["name"]] != strategy.get("hash"):
            reason = f"the source of {strategy['name']} changed"
        elif record.get("sources", sources) != sources:
            reason = f"other code (sources {record['sources'][:12]}, now {sources[:12]})"
        else:
            continue
        reasons[record["id"]] = reason
    return reasons


def settled(
    layout: Layout, records: Iterable[Record], *, retry_failed: bool, force: bool
) -> dict[str, str]:
    """The plan's cells that need not run: the status of each, by id."""
    statuses: Collection[str] = () if force else ("done",) if retry_failed else ("done", "failed")
    found = {record["id"]: record["status"] for record in records}
    return {key: found[key] for key in layout.cells if found.get(key) in statuses}


def estimate(cells: Iterable[Cell], records: Iterable[Record], devices: int) -> float | None:
    """Seconds that cells would train on so many devices, by the records at hand; None without."""
    spent: dict[tuple, list[float]] = {}
    for record in records:
        if record["status"] == "done" and record["timing"].get("devices"):
            seconds = record["timing"]["train_seconds"] * record["timing"]["devices"]
            for key in _alike(record["config"]):
                spent.setdefault(key, []).append(seconds)
    total = 0.0
    for cell in cells:
        known = next((spent[key] for key in _alike(cell) if key in spent), None)
        if known is None:
            return None
        total += statistics.fmean(known)
    return total / devices


def _alike(cell: Cell) -> tuple[tuple, ...]:
    """What a cell's time goes by, best first."""
    trained = cell["backbone"] != "none"
    return (cell["dataset"]["name"], cell["backbone"]), (trained,)
