"""What is tried of each strategy, and the choice that validation makes."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from experiments.cells import Place, Record, canonical
from experiments.training.strategy_rows import Strategy

LEARNING_RATES = (3e-3, 1e-3, 1e-2)  # the default first
FIRST_TUNING_SEED = 1000  # final seeds count from 0


@dataclass(frozen=True)
class Choice:
    """What is tuned of a strategy."""

    hyperparameters: Mapping[str, float]
    learning_rate: float

    @property
    def tuned(self) -> dict[str, float]:
        """As `Cell.tuned` has it."""
        return {**self.hyperparameters, "learning_rate": self.learning_rate}


Choices = Mapping[Place, Choice]


def grid(
    strategy: Strategy,
    rates: Sequence[float] = LEARNING_RATES,
    more_rates: Sequence[float] = (),
) -> list[Choice]:
    """Everything that is tried of a strategy: its defaults at each rate; at the first rate each
    other value of a hyperparameter, one at a time; and `more_rates`, one less for each of those, so
    that as many points are tried of every strategy."""
    defaults = strategy.hyperparameters
    others = [
        Choice({**defaults, name: value}, rates[0])
        for name, values in strategy.grid.items()
        for value in values[1:]
    ]
    tried = [*rates, *more_rates[: max(0, len(more_rates) - len(others))]]
    return [Choice(defaults, rate) for rate in tried] + others


def select(records: Iterable[Record]) -> Choices:
    """The choice with the least mean `mse` on validation over tuning seeds, of those that never
    failed; of equals, the first in the order of ids."""
    found: dict[Place, dict[str, list[Record]]] = {}
    for record in sorted(records, key=lambda record: record.id):
        if record.cell.phase == "tune":
            points = found.setdefault(record.cell.place, {})
            points.setdefault(canonical(record.cell.tuned), []).append(record)

    def error(runs: list[Record]) -> float:
        errors = [run.metrics.get("mse") if run.is_done else None for run in runs]
        return math.inf if None in errors else statistics.fmean(errors)

    chosen = {}
    for place, points in found.items():
        best = min(points.values(), key=error)
        if math.isfinite(error(best)):
            cell = best[0].cell
            chosen[place] = Choice(cell.hyperparameters, cell.training["learning_rate"])
    return chosen
