"""One session of a sweep: what is missing of a plan is run, in as many sessions as it takes."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import saved, store
from experiments.cells import Cell, Record, canonical
from experiments.console import counted, say
from experiments.files import StorageError
from experiments.running import executors, manifest, scheduling
from experiments.running.fingerprints import (
    Fingerprint,
    fingerprints,
    has_own_training,
    sources_hash,
)
from experiments.running.freshness import (
    check_compatible,
    of_other_choices,
    own_strategies,
    stale_records,
    tracked,
    without,
)
from experiments.running.options import Options
from experiments.running.plan import (
    Layout,
    by_dataset,
    compilations,
    estimate,
    final_phase,
    in_lots,
    lay_out,
    settled,
    short_epochs,
)
from experiments.running.presets import Plan
from experiments.running.progress import Display, display
from experiments.running.team import Lot, Reply, Request, Team
from experiments.running.watch import Over, Watch
from experiments.running.worker import run_batch
from experiments.training import devices
from experiments.training.tuning import Choice, select

Derive = Callable[[Path, bool], list[Record]]


@dataclass(frozen=True)
class Outcome:
    """What a session left."""

    records: list[Record]  # all of the folder's
    failed: int  # of the plan's cells
    left: int  # of the plan's cells
    ran: int  # cells, in this session


def run(plan: Plan, options: Options, console: Console, derive: Derive) -> Outcome:
    """Run what is missing of a plan, then redo what is derived from its folder's records.

    Args:
      plan: what the sweep covers.
      options: how it is run.
      console: where progress goes.
      derive: given the folder and whether there is time to draw; redoes all that follows from its
        records, and gives them.

    Raises:
      UsageError: before any training, where the folder's records do not go with the plan.
      StorageError: if the folder cannot be written to any more; what is finished is kept.
      TeamLostError: if the Dask scheduler has gone.
      KeyboardInterrupt: after Ctrl-C; what is finished is kept.
    """
    session = _Session(plan, options, console)
    with session.watch.over_interrupts(console):
        outcome = session.run(derive)
    if session.watch.interrupted:
        raise KeyboardInterrupt
    return outcome


class _Session:
    def __init__(self, plan: Plan, options: Options, console: Console):
        self._plan, self._options, self._console = plan, options, console
        self.watch = Watch(options.minutes)
        self._spent: dict[str, Any] = {"compile_seconds": 0.0, "train_seconds": 0.0, "devices": []}

    def run(self, derive: Derive) -> Outcome:
        folder = self._options.out
        layout = lay_out(self._plan, self._options.allow_infeasible)
        with store.opened(folder) as self._check_folder:
            records, aside = self._fresh(layout)
            if damaged := store.set_manifest_aside(folder):
                text = f"manifest.json is not whole: set aside as {damaged.name}, and begun anew."
                say(self._console, text)
            earlier = store.read_manifest(folder)
            present = manifest.begin(earlier, self._plan, layout, _where(self._options))
            store.write_manifest(folder, present)
            for record in aside:
                store.set_aside(folder, record)
            ran, planned, left, idle = set(), set(), 0, False
            try:
                for part in by_dataset(layout):
                    planned |= part.cells.keys()
                    part, before, finished = self._run_part(part, records)
                    records = store.read(folder) if finished else records
                    ran |= finished
                    planned |= part.cells.keys()
                    left += len(part.cells.keys() - before.keys() - finished) + len(part.later)
                idle = bool(earlier) and not ran and not left
            finally:
                with suppress(StorageError):
                    self._check_folder()
                    kept = earlier if idle else manifest.finish(present, **self._spent)
                    store.write_manifest(folder, kept)
            self._check_folder()
            records = derive(folder, not self.watch.interrupted)
        failed = sum(record.id in planned and not record.is_done for record in records)
        return Outcome(records, failed, left, len(ran))

    def _fresh(self, layout: Layout) -> tuple[list[Record], list[Record]]:
        """The folder's records, and those that are to be set aside."""
        records = store.read(self._options.out, set_aside=True)
        stale = stale_records(layout, records, self._options, self._console)
        if stale:
            seats = {cell.seat for cell in layout.cells.values()}
            again = sum(record.cell.seat in seats for record in stale)
            text = f"{counted(len(stale), 'stale record')} set aside, {again} of them of this plan."
            say(self._console, text)
        return without(records, stale), stale

    def _run_part(
        self, layout: Layout, records: Sequence[Record]
    ) -> tuple[Layout, Mapping[str, str], set[str]]:
        """Run a layout's phase and, once that is whole, the one after it.

        Returns:
          the layout of the last phase begun, what of it was settled before, and the ids of what
          is finished now in either.
        """
        before = _before(layout, records, self._options)
        ran = self._run_phase(layout, before)
        if layout.later and layout.cells.keys() <= before.keys() | ran:
            records = store.read(self._options.out) if ran else records
            layout, kept = _chosen(layout, self._plan, records)
            for line in kept:
                say(self._console, line)
            before = _before(layout, records, self._options)
            ran |= self._run_phase(layout, before)
        return layout, before, ran

    def _run_phase(self, layout: Layout, before: Mapping[str, str]) -> set[str]:
        """Run what is not settled before; returns the ids of what is finished now."""
        todo = [cell for key, cell in layout.cells.items() if key not in before]
        if before or layout.later:
            of = f"{next(iter(layout.datasets))}: " if len(layout.datasets) == 1 else ""
            say(self._console, f"{of}{_counted(layout, before)}; {len(todo)} to run.")
        if not todo or self.watch.is_over():
            return set()
        for text in short_epochs(layout, self._plan):
            say(self._console, text)
        return self._train(todo, layout)

    def _train(self, todo: Sequence[Cell], layout: Layout) -> set[str]:
        """Run cells and save their records; returns their ids."""
        own = own_strategies(layout)
        made_by = fingerprints(todo, layout.datasets, own, tracked(self._console))
        lots = in_lots(todo, layout.strategies)
        elsewhere = self._options.workers or self._options.dask
        ran: set[str] = set()
        with display(self._console, len(todo), sum(cell.epochs for cell in todo)) as shown:

            def request(lot: Lot, cells: Sequence[Cell]) -> Request:
                shown.begin(lot, len(cells), cells[0].epochs)
                return Request(
                    cells,
                    layout.given[lot.dataset],
                    lot.strategies,
                    {c.strategy: made_by[c.id]["strategy"] for c in cells if c.strategy in own},
                    self._options.allow_infeasible,
                    sources_hash(),
                    None if elsewhere else layout.datasets[lot.dataset],
                    self._kept(cells),
                    made_by[cells[0].id]["training"] if has_own_training(cells[0]) else "",
                )

            watch, timeout = self.watch, self._options.timeout
            with suppress(Over), self._team(shown) as team:
                run = scheduling.run(
                    run_batch,
                    lots,
                    request,
                    team,
                    timeout,
                    watch.is_over,
                    watch.wait_no_longer,
                    shown.wait,
                )
                with closing(run) as replies:
                    for reply in replies:
                        ran |= self._save(reply, made_by, shown)
                        kinds = [kind for worker in team() for kind in worker.devices]
                        self._spent["devices"] = kinds
        return ran

    def _kept(self, cells: Sequence[Cell]) -> tuple[str, ...]:
        """What cells save: what is asked for, and anew what they saved before."""
        asked = self._options.save if cells[0].phase == "final" else ()
        before = saved.kinds(self._options.out, [cell.id for cell in cells])
        return tuple(dict.fromkeys((*asked, *before)))

    def _save(self, reply: Reply, made_by: Mapping[str, Fingerprint], shown: Display) -> set[str]:
        self._spent["compile_seconds"] += reply.compile_seconds
        shown.side_by_side(reply.each)
        for record, arrays in reply.finished:
            self._check_folder()
            saved.write(self._options.out, record.id, reply.saved.get(record.id, {}))
            store.save(self._options.out, replace(record, fingerprint=made_by[record.id]), arrays)
            self._spent["train_seconds"] += record.timing.get("train_seconds", 0.0)
            shown.finished(record)
            self.watch.stopped |= self._options.fail_fast and not record.is_done
        return {record.id for record, _ in reply.finished}

    def _team(self, shown: Display) -> AbstractContextManager[Team]:
        if self._options.dask:
            return executors.dask(self._options.dask)
        if self._options.workers:
            return executors.pool(self._options.workers)

        def on_epochs(epochs: int) -> None:
            shown.advance(epochs)
            if self.watch.is_over():
                raise Over

        return executors.here(on_epochs, self._options.timeout, self.watch.left)


def _where(options: Options) -> str:
    if options.dask:
        return f"dask {options.dask}"
    return f"{options.workers} processes" if options.workers else "one process"


def _chosen(layout: Layout, plan: Plan, records: Sequence[Record]) -> tuple[Layout, list[str]]:
    """The final phase of what validation chose, and what is to be said of it.

    Where final cells are there of another choice, that one is kept: it was made of what was known
    then, before a tuning cell was mended or more of them were run.
    """
    chosen = dict(select(record for record in records if record.id in layout.cells))
    final = final_phase(layout, plan, chosen)
    now = {cell.place: cell.tuned for cell in final.cells.values()}
    said = []
    for place, cell in of_other_choices(final, records).items():
        chosen[place] = Choice(cell.hyperparameters, cell.training["learning_rate"])
        said.append(
            f"{' '.join(place)}: validation would now choose {canonical(now[place])}; its final "
            f"cells have {canonical(cell.tuned)}, which is kept. Another --out takes the new one."
        )
    return (final_phase(layout, plan, chosen) if said else final), said


def _before(layout: Layout, records: Sequence[Record], options: Options) -> dict[str, str]:
    """The cells that need not run: the status of each, by id."""
    check_compatible(layout, records)
    found = settled(layout, records, retry_failed=options.retry_failed, force=options.force)
    return {
        key: status
        for key, status in found.items()
        if status != "done" or not _unsaved(layout.cells[key], options)
    }


def _unsaved(cell: Cell, options: Options) -> bool:
    """Whether a finished cell is run again for what it did not save."""
    kinds = options.save if cell.phase == "final" else ()
    if not cell.is_trained:
        kinds = tuple(kind for kind in kinds if kind != "weights")
    return saved.missing(options.out, cell.id, kinds)


def _counted(layout: Layout, before: Mapping[str, str]) -> str:
    statuses = list(before.values())
    failed = statuses.count("failed")
    again = f", {failed} failed (--retry-failed runs them again)" if failed else ""
    phase = f"{layout.phase} phase, {len(layout.later)} cells after it: " if layout.later else ""
    return f"{phase}{len(layout.cells)} cells, {statuses.count('done')} of them done{again}"


def dry_run(plan: Plan, options: Options, console: Console) -> str:
    """What running a plan would do."""
    layout = lay_out(plan, options.allow_infeasible)
    exists = store.holds_sweep(options.out)
    records = store.read(options.out) if exists else []
    records = without(records, stale_records(layout, records, options, console))
    parts = []
    for part in by_dataset(layout):
        if part.later and part.cells.keys() <= _before(part, records, options).keys():
            part, kept = _chosen(part, plan, records)
            for line in kept:
                say(console, line)
        parts.append(part)
    layout = replace(
        layout,
        cells={key: cell for part in parts for key, cell in part.cells.items()},
        later=tuple(cell for part in parts for cell in part.later),
    )
    before = _before(layout, records, options)
    todo = [cell for key, cell in layout.cells.items() if key not in before]
    text = (
        f"{options.out}: {_counted(layout, before)}; {len(todo)} to run, "
        f"in {counted(compilations(layout, todo), 'compilation')}"
    )
    seconds = estimate([*todo, *layout.later], records, len(devices.cores()))
    if not todo:
        return f"{text}."
    if seconds is None:
        return f"{text}; how long they train, no record at hand tells."
    return f"{text}; about {seconds / 60:.1f} minutes of training on all cores, by the records."
