"""What a sweep covers: presets, and flags that change them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from experiments.data.catalogue import DATASETS
from experiments.training.baselines import BASELINES
from experiments.training.cell import BACKBONES, DTYPES, STARTS, Settings
from experiments.training.strategies import COUPLED, TRAINED, with_values
from experiments.training.strategy_names import is_own, one_spelling, parse
from experiments.usage import UsageError, choose

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
    start: str = "constant"  # one of STARTS
    tuning_seeds: int = 0  # with which hyperparameters are chosen; 0: the defaults are taken

    @property
    def settings(self) -> Settings:
        return Settings(hidden=self.hidden, dtype=self.dtype, epochs=self.epochs, start=self.start)


REFERENCE_RUN: dict[str, Any] = {
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
        # The answers to the question, two remedies for dead gradients, and their controls.
        strategies=(
            *ALWAYS,
            "straight_through_clip",
            "smooth_clip",
            "relu_offset",
            "stretched_tanh",
            "half_tanh",
            "tanh_interval",
            "tanh_range",
            "clip_to_sequence_maximum",
            "clip_at_evaluation",
            "offset_unconstrained",
            *BASELINES,
        ),
        # The question's autoencoder; on the bound, below it, and on either of two.
        datasets=("irradiance_autoencoder", "irradiance", "dew_point", "flights"),
    ),
    "full": Plan(
        strategies=(*TRAINED, *BASELINES),
        # Not those of several sites in one, whose sites are there, nor the 144 steps of household.
        datasets=tuple(
            name
            for name, entry in DATASETS.items()
            if name not in ("irradiance", "dew_point", "household") and entry.role != "coupled"
        ),
        **REFERENCE_RUN,
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
        **REFERENCE_RUN,
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
        **{**REFERENCE_RUN, "seeds": 5},
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
    if "strategies" in given:
        given["strategies"] = tuple(map(one_spelling, given["strategies"]))
    plan = replace(choose("preset", preset, PRESETS), **given)
    for name, least in {"seeds": 1, "tuning_seeds": 0, "hidden": 1, "epochs": 1}.items():
        if getattr(plan, name) < least:
            flag = name.replace("_", "-")
            raise UsageError(f"--{flag} must be at least {least}, got {getattr(plan, name)}.")
    choose("dtype", plan.dtype, dict.fromkeys(DTYPES))
    choose("start", plan.start, dict.fromkeys(STARTS))
    tables: dict[str, dict[str, Any]] = {
        "strategies": {**TRAINED, **COUPLED, **BASELINES},
        "datasets": DATASETS,
        "backbones": dict.fromkeys(BACKBONES),
    }
    for name, table in tables.items():
        kind = {"strategies": "strategy"}.get(name, name.removesuffix("s"))
        for value in getattr(plan, name):
            if kind == "strategy":
                _check_strategy(value, table)
            elif not (kind == "dataset" and value.endswith(".npz")):
                choose(kind, value, table)
        if not getattr(plan, name):
            raise UsageError(f"--{name} is empty; valid names: {', '.join(table)}.")
    return replace(
        plan,
        strategies=tuple(dict.fromkeys((*ALWAYS, *plan.strategies))),
        datasets=tuple(dict.fromkeys(plan.datasets)),
        backbones=tuple(dict.fromkeys(plan.backbones)),
    )


def _check_strategy(name: str, table: Mapping[str, Any]) -> None:
    """That a name is of the table, with hyperparameters that the row has; or of the user's own."""
    if is_own(name):
        return
    base, values = parse(name)
    row = choose("strategy", base, table)
    if values and base in BASELINES:
        raise UsageError(f"{base} is untrained, and has no hyperparameters: leave them out.")
    if values:
        with_values(row, name, values)
