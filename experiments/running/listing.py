"""What can be named on the command line: `python -m experiments.sweep --list`."""

from collections.abc import Sequence

from rich.table import Column, Table

from experiments.data.catalogue import DATASETS
from experiments.data.datasets import load
from experiments.running.presets import PRESETS
from experiments.training.baselines import BASELINES
from experiments.training.strategies import COUPLED, TRAINED, holds


def list_choices() -> list[Table]:
    """What can be named on the command line."""
    presets = Table("preset", "strategies", "datasets", "backbones", "seeds", "hidden", "epochs")
    for name, plan in PRESETS.items():
        counts = [str(len(values)) for values in (plan.strategies, plan.datasets)]
        numbers = [str(value) for value in (plan.seeds, plan.hidden, plan.epochs)]
        presets.add_row(name, *counts, ", ".join(plan.backbones), *numbers)
    strategies = Table(
        Column("strategy", no_wrap=True),
        "what it is",
        "holds",
        "hyperparameters: default, rest of grid",
        "source",
    )
    for row in (TRAINED | COUPLED).values():
        values = "; ".join(f"{name}: {_listed(grid)}" for name, grid in row.grid.items())
        strategies.add_row(row.name, row.summary, holds(row.name), values, row.source)
    for name, (_, text) in BASELINES.items():
        strategies.add_row(name, f"baseline, untrained: {text}", "", "", "")
    datasets = Table("dataset", "role", "what it is", "windows", "bounds", "unit")
    for name, entry in DATASETS.items():
        found = load(name)
        shape = " × ".join(map(str, found.targets.shape))
        datasets.add_row(
            name, entry.role, entry.summary, shape, ", ".join(found.sides()), entry.unit
        )
    return [presets, strategies, datasets]


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
