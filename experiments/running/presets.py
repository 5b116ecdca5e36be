"""What a sweep covers: presets, and flags that change them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from experiments.cells import sized
from experiments.data.catalogue import DATASETS
from experiments.data.dials import SETTINGS
from experiments.data.study import STUDY
from experiments.training import users_code
from experiments.training.backbones import AUTOENCODERS, BACKBONES
from experiments.training.baselines import BASELINES
from experiments.training.cell import DTYPES, STARTS, Settings
from experiments.training.strategies import COUPLED, TRAINED, with_values
from experiments.training.strategy_names import is_own, one_spelling, parse
from experiments.training.tuning import LEARNING_RATES
from experiments.usage import UsageError, choose

ALWAYS = ("unconstrained", "clip")
LEAST = {
    "seeds": 1,
    "tuning_seeds": 0,
    "hidden": 1,
    "epochs": 1,
    "patience": 0,
    "updates": 1,
    "batch": 1,
}


@dataclass(frozen=True)
class Plan:
    """What a sweep covers."""

    strategies: tuple[str, ...]  # names of the table, or module:function
    datasets: tuple[str, ...]  # names of the table, or paths to .npz
    backbones: tuple[str, ...] = AUTOENCODERS[:1]
    seeds: int = 2
    hidden: tuple[int, ...] = (32,)  # of several, the backbones' names end in each
    dtype: str = "float32"  # one of DTYPES
    epochs: int = 50  # at most
    patience: int = 0  # epochs after its best that a run ends; 0: none
    updates: int = Settings.batches_per_epoch  # an epoch
    batch: int = Settings.batch  # windows
    learning_rates: tuple[float, ...] = LEARNING_RATES  # the default first, the others are tuned
    more_rates: tuple[float, ...] = ()  # tried instead of hyperparameters that a strategy lacks
    start: str = "constant"  # one of STARTS
    metrics: tuple[str, ...] = ()  # the user's own, module:function
    tuning_seeds: int = 0  # with which hyperparameters are chosen; 0: the defaults are taken

    def settings(self, backbone: str) -> Settings:
        """Those of a backbone of the plan."""
        several = len(self.hidden) > 1
        return Settings(
            hidden=int(backbone.rpartition("_")[2]) if several else self.hidden[0],
            dtype=self.dtype,
            epochs=self.epochs,
            patience=self.patience,
            batches_per_epoch=self.updates,
            batch=self.batch,
            start=self.start,
            metrics=",".join(self.metrics),
        )

    def network(self, backbone: str) -> str:
        """A backbone of the plan without its size."""
        several = len(self.hidden) > 1
        return backbone.rpartition("_")[0] if several else backbone


STUDY_RUN: dict[str, Any] = {
    "seeds": 5,
    "hidden": (32,),
    "epochs": 480,
    "patience": 60,
    "learning_rates": (1e-2, 3e-4, 1e-3, 3e-3, 3e-2, 1e-1),
}
"""What the study's presets have in common; see docs/study.md."""
TUNED: dict[str, Any] = {
    **STUDY_RUN,
    "seeds": 10,
    "tuning_seeds": 3,
    "more_rates": (5.5e-3, 1.7e-2),
}
COMPARED = (
    *ALWAYS,
    "straight_through_clip",
    "smooth_clip",
    "tanh_interval",
    "softplus_offset",
    "squared_hinge",
    "clip_at_evaluation",
)
"""Of the planned comparisons."""
ANSWERS = (
    "relu_offset",
    "stretched_tanh",
    "half_tanh",
    "tanh_interval",
    "tanh_range",
    "clip_to_sequence_maximum",
)
"""To the question, beside `clip`."""
ALL = (*STUDY, "irradiance_soiled", "parking_raw", "irradiance_autoencoder", "sines")
"""The study's datasets: with wrong bounds and autoencoders, which are in no average."""
RANKED: dict[str, Any] = {**TUNED, "seeds": 5}
"""Of strategies that are ranked, and not compared."""

PRESETS = {
    "smoke": Plan(
        strategies=(*ALWAYS, "relu_offset", "squared_hinge", *BASELINES),
        datasets=("irradiance", "irradiance_autoencoder"),
        hidden=(8,),
        epochs=2,
    ),
    "default": Plan(
        # The answers to the question, the map that README recommends, and their controls.
        strategies=(*ALWAYS, "smooth_clip", *ANSWERS, "clip_at_evaluation", *BASELINES),
        # The question's autoencoder; on the bound, below it, and on either of two.
        datasets=("irradiance_autoencoder", "irradiance", "dew_point", "flights"),
    ),
    "planned": Plan(
        strategies=(*COMPARED, *BASELINES),
        datasets=(*STUDY, "irradiance_soiled", "irradiance_autoencoder"),
        backbones=("mlp", "conditioned", "bottleneck", "gru"),
        **TUNED,
    ),
    "full": Plan(strategies=(*TRAINED, *BASELINES), datasets=ALL, backbones=("mlp",), **RANKED),
    "answers": Plan(
        strategies=(*ALWAYS, *ANSWERS),
        datasets=(
            "irradiance_autoencoder",
            "bikeshare",
            "household_hourly",
            "spectrum",
            "dew_point_jfk",
            "flights",
        ),
        **RANKED,
    ),
    "budgets": Plan(
        strategies=(
            *ALWAYS,
            "straight_through_clip",
            "smooth_clip",
            "sigmoid_interval",
            "squared_hinge",
            "clip_at_evaluation",
            *COUPLED,
            *BASELINES,
        ),
        datasets=("household_hourly", "closure_greensboro", "closure_wind_farm"),
        backbones=("mlp",),
        **RANKED,
    ),
    "starts": Plan(
        # The clips and the offsets, which can begin beyond their bound; --start zero for the other.
        strategies=(
            *ALWAYS,
            "straight_through_clip",
            "leaky_clip",
            "smooth_clip",
            "relu_offset",
            "softplus_offset",
            "clip_at_evaluation",
        ),
        datasets=STUDY,
        backbones=("mlp", "bottleneck"),
        **STUDY_RUN,
    ),
    "dials": Plan(
        strategies=COMPARED,
        datasets=tuple(SETTINGS),
        backbones=("mlp", "conditioned"),
        **STUDY_RUN,
    ),
    "sizes": Plan(
        strategies=COMPARED,
        datasets=("bikeshare", "diffuse_greensboro", "employment"),
        backbones=("conditioned",),
        **{**STUDY_RUN, "hidden": (32, 64, 150)},
    ),
}


def make_plan(preset: str, **changes: Any) -> Plan:
    """A preset with changes; None leaves a field as it is.

    `unconstrained` and `clip` are always among the strategies.

    Raises:
      UsageError: for an unknown name or a value that is not positive; lists what is valid.
    """
    given = {name: _read(name, value) for name, value in changes.items() if value is not None}
    plan = replace(choose("preset", preset, PRESETS), **given)
    choose("dtype", plan.dtype, dict.fromkeys(DTYPES))
    choose("start", plan.start, dict.fromkeys(STARTS))
    tables: dict[str, dict[str, Any]] = {
        "strategies": {**TRAINED, **COUPLED, **BASELINES},
        "datasets": DATASETS,
        "backbones": dict.fromkeys((*BACKBONES, "module:factory")),
    }
    for name, table in tables.items():
        kind = {"strategies": "strategy"}.get(name, name.removesuffix("s"))
        for value in getattr(plan, name):
            if kind == "strategy":
                _check_strategy(value, table)
            elif kind == "dataset":
                _check_dataset(value)
            elif not is_own(value):
                choose(kind, value, table)
        if not getattr(plan, name):
            raise UsageError(f"--{name} is empty; valid names: {', '.join(table)}.")
    _check_unsized(plan)
    for metric in plan.metrics:
        if not is_own(metric):
            raise UsageError(f"--metrics takes module:function, got {metric!r}.")
    return replace(
        plan,
        strategies=tuple(dict.fromkeys((*ALWAYS, *plan.strategies))),
        datasets=tuple(dict.fromkeys(plan.datasets)),
        metrics=tuple(dict.fromkeys(plan.metrics)),
        backbones=tuple(
            sized(backbone, size) if len(plan.hidden) > 1 else backbone
            for backbone in dict.fromkeys(plan.backbones)
            for size in plan.hidden
        ),
    )


def _check_unsized(plan: Plan) -> None:
    """That of one size no network's name ends in it, as names do where there are several."""
    for backbone in plan.backbones if len(plan.hidden) == 1 else ():
        if backbone.endswith(sized("", plan.hidden[0])):
            raise UsageError(
                f"{backbone} ends as networks of {plan.hidden[0]} hidden units do where there are "
                "several sizes: give the function another name."
            )


def _read(name: str, value: Any) -> Any:
    """A field of a plan, of what is given for it."""
    if name in ("strategies", "datasets", "backbones", "metrics"):
        return tuple(map(one_spelling if name == "strategies" else str, _names(name, value)))
    if name in ("hidden", "learning_rates"):
        return _several(name, value, _rate if name == "learning_rates" else partial(_count, name))
    return _count(name, value) if name in LEAST else value


def _names(name: str, given: Any) -> list[Any]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise UsageError(f"{name} must be a list of names, got {given!r}.")
    return list(given)


def _several(name: str, given: Any, read: Callable[[Any], Any]) -> tuple[Any, ...]:
    """One number or a list of them, each once."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    found = tuple(dict.fromkeys(map(read, given if several else [given])))
    if not found:
        raise UsageError(f"{_flag(name)} is empty: give a number.")
    return found


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise UsageError(f"{_flag(name)} must be a whole number, got {value!r}.")
    if value < LEAST[name]:
        raise UsageError(f"{_flag(name)} must be at least {LEAST[name]}, got {value}.")
    return int(value)


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < float("inf"):
        raise UsageError(f"--learning-rates must be positive and finite, got {value!r}.")
    return float(value)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _check_dataset(name: str) -> None:
    """That a name is of the table, of a `.npz`, or stands for what was given."""
    path = Path(name)
    if name in DATASETS or name.endswith(".npz") or users_code.given(name):
        return
    if path.is_dir():
        raise UsageError(
            f"{name} is a folder: name the .npz in it, such as {name.rstrip('/')}/*.npz."
        )
    if Path(f"{name}.npz").exists():
        raise UsageError(f"{name} is no dataset of the table. For the file give {name}.npz.")
    if path.suffix or path.exists():
        raise UsageError(
            f"{name} is no .npz, which holds inputs, targets, and upper and/or lower, each "
            "(windows, steps, features). Of a table with a column each, in windows of 24 steps:\n"
            f'  x, y, u = (c.reshape(-1, 24, 1) for c in numpy.loadtxt("{name}", delimiter=",", '
            f'skiprows=1, unpack=True))\n  numpy.savez("{path.stem}.npz", inputs=x, targets=y, '
            "upper=u)"
        )
    choose("dataset", name, DATASETS)


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
