"""Presets and flags to cells; a cell's identity."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from experiments.baselines import BASELINES
from experiments.choices import UsageError, choose
from experiments.datasets import DATASETS, Dataset
from experiments.strategies import EVERY_STRATEGY, TRAINED, Strategy, bound_sources
from experiments.training import BACKBONES, DTYPES, Settings

METRIC_VERSION = 1
LEARNING_RATE = 3e-3
ALWAYS = ("unconstrained", "clip")
Cell = dict[str, Any]


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

    @property
    def settings(self) -> Settings:
        return Settings(hidden=self.hidden, dtype=self.dtype, epochs=self.epochs)


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
        datasets=tuple(name for name in DATASETS if name != "household"),
    ),
    "full": Plan(
        strategies=EVERY_STRATEGY,
        datasets=tuple(DATASETS),
        backbones=BACKBONES,
        seeds=10,
        hidden=64,
        epochs=60,
    ),
}


def make_plan(preset: str, **changes: Any) -> Plan:
    """A preset with changes; None leaves a field as it is.

    `unconstrained` and `clip` are always among the strategies.

    Raises:
      UsageError: for an unknown name or a value that is not positive; lists what is valid.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    plan = replace(choose("preset", preset, PRESETS), **given)
    for name in ("seeds", "hidden", "epochs"):
        if getattr(plan, name) < 1:
            raise UsageError(f"--{name} must be at least 1, got {getattr(plan, name)}.")
    choose("dtype", plan.dtype, dict.fromkeys(DTYPES))
    tables: dict[str, dict[str, Any]] = {
        "strategies": {**TRAINED, **BASELINES},
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


def cells(plan: Plan, dataset: Dataset, strategies: Sequence[Strategy]) -> list[Cell]:
    """Every cell of one dataset, as plain JSON: trained rows, then untrained baselines."""
    settings = asdict(plan.settings)
    model = {name: settings.pop(name) for name in ("hidden", "dtype")}
    base = {
        "dataset": {"name": dataset.name, "hash": dataset.hash},
        "phase": "final",
        "metric_version": METRIC_VERSION,
    }
    trained = [
        {
            **base,
            "strategy": {
                "name": strategy.name,
                "hyperparameters": strategy.hyperparameters,
                "bounds": bound_sources(strategy, dataset.sides()),
            },
            "backbone": backbone,
            "seed": seed,
            "model": model,
            "training": {**settings, "learning_rate": LEARNING_RATE},
        }
        for backbone in plan.backbones
        for strategy in strategies
        for seed in range(plan.seeds)
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
        if name in BASELINES
    ]
    return trained + untrained


def identity(cell: Cell) -> str:
    """SHA-256 of the cell's canonical JSON: the same on any machine."""
    return hashlib.sha256(canonical(cell).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def settings_of(cell: Cell) -> Settings:
    """What a cell's runner is compiled for."""
    values = {**cell["model"], **cell["training"]}
    return Settings(**{field.name: values[field.name] for field in fields(Settings)})
