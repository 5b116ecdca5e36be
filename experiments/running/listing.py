"""What can be named on the command line: `python -m experiments.sweep --list`."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from experiments.data.catalogue import DATASETS
from experiments.data.datasets import load
from experiments.running.presets import PRESETS
from experiments.training.baselines import BASELINES
from experiments.training.strategies import COUPLED, TRAINED, holds


def list_choices() -> list[Table]:
    """What can be named on the command line, in tables that cut no name at 80 columns."""
    presets = _table("preset", "strategies", "datasets", "seeds", "hidden", "epochs", "backbones")
    for name, plan in PRESETS.items():
        counts = [str(len(values)) for values in (plan.strategies, plan.datasets)]
        numbers = [str(plan.seeds), _listed(plan.hidden), str(plan.epochs)]
        presets.add_row(name, *counts, *numbers, ", ".join(plan.backbones))
    strategies = _table("strategy", "what it is")
    for row in (TRAINED | COUPLED).values():
        values = [f"{name}: {_listed(grid)}" for name, grid in row.grid.items()]
        promise = "; ".join([f"holds {holds(row.name)}", *values])
        strategies.add_row(row.name, _lines(row.summary, promise, row.source))
    for name, (_, text) in BASELINES.items():
        strategies.add_row(name, f"baseline, untrained: {text}")
    datasets = _table("dataset", "role", "what it is; windows × steps × features; bounds; unit")
    for name, entry in DATASETS.items():
        found = load(name)
        shape = " × ".join(map(str, found.targets.shape))
        sides = ", ".join(found.sides())
        datasets.add_row(name, entry.role, _lines(entry.summary, f"{shape}; {sides}; {entry.unit}"))
    return [presets, strategies, datasets]


def _table(*headings: str) -> Table:
    """The last column wraps, the others stay whole."""
    columns = [Column(heading, no_wrap=True) for heading in headings[:-1]]
    last = Column(headings[-1], overflow="fold")
    return Table(*columns, last, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _lines(*texts: str) -> str:
    return escape("\n".join(texts))


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
