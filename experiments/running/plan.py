"""A plan's cells, and which of them a folder's records leave to do."""

import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from experiments.cells import UNTRAINED, Cell, Json, Record
from experiments.data.catalogue import DATASETS
from experiments.data.datasets import ARRAYS, Dataset, load
from experiments.running.presets import Plan
from experiments.running.team import Lot
from experiments.training import users_code
from experiments.training.baselines import BASELINES
from experiments.training.edited import edited
from experiments.training.networks import check_network
from experiments.training.own_metrics import check_metrics
from experiments.training.own_strategies import check_fit, resolve
from experiments.training.strategy_names import base_of, is_own
from experiments.training.strategy_rows import Strategy, bound_sources
from experiments.training.tuning import FIRST_TUNING_SEED, Choice, Choices, grid
from experiments.usage import UsageError

SHORT = 0.1  # of the training windows: an epoch that covers less is said


def cells(
    plan: Plan,
    dataset: Dataset,
    strategies: Sequence[Strategy],
    phase: str = "final",
    chosen: Choices | None = None,
) -> list[Cell]:
    """Every cell of one dataset and phase: trained rows, then, in the final phase,
    untrained baselines.

    Args:
      plan: the plan.
      dataset: the dataset.
      strategies: rows of the table, or the user's own.
      phase: "tune" for the whole grid of each, or "final".
      chosen: what the final phase runs, where it is not the defaults.
    """
    tuning = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + plan.tuning_seeds)

    def choices(strategy: Strategy, backbone: str) -> list[Choice]:
        points = grid(strategy, plan.learning_rates, plan.more_rates)
        place = strategy.name, dataset.name, backbone
        return points if phase == "tune" else [(chosen or {}).get(place, points[0])]

    def settings(backbone: str) -> tuple[Json, Json]:
        """Of its model, and of its training; without what is off, so that one that is added later
        leaves the identities of cells as they are."""
        found = {name: value for name, value in asdict(plan.settings(backbone)).items() if value}
        return {name: found.pop(name) for name in ("hidden", "dtype")}, found

    trained = [
        Cell(
            dataset.name,
            dataset.hash,
            phase,
            strategy.name,
            backbone,
            seed,
            hyperparameters=choice.hyperparameters,
            bounds=bound_sources(strategy, dataset.sides()),
            model=model,
            training={**training, "learning_rate": choice.learning_rate},
        )
        for backbone in plan.backbones
        for model, training in [settings(backbone)]
        for strategy in strategies
        for choice in choices(strategy, backbone)
        for seed in (tuning if phase == "tune" else range(plan.seeds))
    ]
    own = {"metrics": ",".join(plan.metrics)} if plan.metrics else {}
    untrained = [
        Cell(dataset.name, dataset.hash, phase, name, UNTRAINED, 0, training=own)
        for name in plan.strategies
        if name in BASELINES and phase == "final"
    ]
    return trained + untrained


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
        dataset = users_code.given(name) or load(name, allow_infeasible)
        if dataset.name in datasets:
            raise UsageError(
                f"{name} and {given[dataset.name]} would both be called {dataset.name}: rename one."
            )
        sizes = {plan.batch, *np.bincount(dataset.split).tolist()}
        for strategy in rows:
            if strategy.coupled and dataset.sum_upper is None:
                raise UsageError(
                    f"{strategy.name} shares an upper bound of the features' sum, but {name} has "
                    "none (sum_upper)."
                )
            if strategy.own or strategy.name != base_of(strategy.name):
                check_fit(strategy, dataset, sizes)
        _check_own(plan, dataset)
        datasets[dataset.name] = dataset
        given[dataset.name] = name if name in DATASETS else str(Path(name).absolute())
    names = tuple(row.name for row in rows)
    _check_unedited(filter(is_own, (*names, *plan.backbones, *plan.metrics)))
    final = final_phase(Layout(datasets, given, names, "tune", {}, ()), plan)
    if not plan.tuning_seeds:
        return final
    found = [cell for dataset in datasets.values() for cell in cells(plan, dataset, rows, "tune")]
    return replace(
        final, phase="tune", cells=_by_identity(found), later=tuple(final.cells.values())
    )


def _check_own(plan: Plan, dataset: Dataset) -> None:
    """Try the user's networks and metrics on a dataset."""
    part = dataset.part("train")
    check_metrics(",".join(plan.metrics), part, dataset.name)
    for backbone in filter(is_own, plan.backbones):
        settings = plan.settings(backbone)
        network = plan.network(backbone)
        check_network(network, settings.hidden, settings.dtype, part, dataset.name)


def _check_unedited(names: Iterable[str]) -> None:
    """That what is the user's own is what its files are by now."""
    files = edited(base_of(name).split(":")[0] for name in names)
    if files:
        changed = " and ".join(path.name for path in files)
        raise UsageError(
            f"{changed} changed since this process imported it: restart it (in a notebook, the "
            "kernel), or importlib.reload the module and then those that import it."
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
            cells={k: cell for k, cell in layout.cells.items() if cell.dataset == name},
            later=tuple(cell for cell in layout.later if cell.dataset == name),
        )
        for name, dataset in layout.datasets.items()
    ]


def _by_identity(cells: Iterable[Cell]) -> dict[str, Cell]:
    return {cell.id: cell for cell in cells}


def in_lots(cells: Iterable[Cell], strategies: Iterable[str]) -> dict[Lot, list[Cell]]:
    """By what is compiled together: those of a dataset and backbone whose strategies are rows of
    the table; and, after all of these, each strategy of the user's own by itself, so that one that
    fails, hangs or kills its worker costs its own cells alone.

    Args:
      cells: the cells.
      strategies: those with a network that a cell of the plan may have.
    """
    table = tuple(name for name in strategies if not is_own(name))
    lots: dict[Lot, list[Cell]] = {}
    for cell in cells:
        together = (cell.strategy,) if is_own(cell.strategy) else table
        lots.setdefault(Lot(cell.dataset, cell.backbone, together), []).append(cell)
    return dict(sorted(lots.items(), key=lambda item: item[0].strategies != table))


def compilations(layout: Layout, cells: Iterable[Cell]) -> int:
    """How often the runner is compiled for these cells: datasets of the same shapes share it."""

    def shapes(name: str) -> tuple:
        dataset = layout.datasets[name]
        arrays = {key: getattr(dataset, key) for key in ARRAYS}
        known = ((key, array.shape) for key, array in arrays.items() if array is not None)
        return tuple(np.bincount(dataset.split)), *known

    trained = (cell for cell in cells if cell.is_trained)
    lots = in_lots(trained, layout.strategies)
    return len({(shapes(lot.dataset), *lot[1:]) for lot in lots})


def short_epochs(layout: Layout, plan: Plan) -> list[str]:
    """What an epoch is, for datasets of which it covers little."""
    updates, batch = plan.updates, plan.batch
    found = []
    for name, dataset in layout.datasets.items():
        share = updates * batch / np.count_nonzero(dataset.split == 0)
        if share < SHORT:
            found.append(
                f"{name}: an epoch is {updates} batches of {batch}, {100 * share:.2g} % of the "
                "training windows."
            )
    return found


def settled(
    layout: Layout, records: Iterable[Record], *, retry_failed: bool, force: bool
) -> dict[str, str]:
    """The plan's cells that need not run: the status of each, by id."""
    statuses: Collection[str] = () if force else ("done",) if retry_failed else ("done", "failed")
    found = {record.id: record.status for record in records}
    return {key: found[key] for key in layout.cells if found.get(key) in statuses}


def estimate(cells: Iterable[Cell], records: Iterable[Record], devices: int) -> float | None:
    """Seconds that cells would train on so many devices, by the records at hand; None without."""
    spent: dict[tuple, list[float]] = {}
    for record in records:
        if record.is_done and record.timing.keys() >= {"train_seconds", "devices"}:
            seconds = record.timing["train_seconds"] * record.timing["devices"]
            for key in _alike(record.cell):
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
    return (cell.dataset, cell.backbone), (cell.is_trained,)
