"""One sitting of a sweep: what is missing of a plan is run, in as many sittings as it takes."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments import captions, devices, executors, manifest, report, store, work
from experiments.choices import UsageError, choose
from experiments.executors import Group, Team
from experiments.plan import (
    Layout,
    Plan,
    by_dataset,
    check_compatible,
    compilations,
    estimate,
    final_phase,
    in_groups,
    lay_out,
    settled,
    stale_reasons,
)
from experiments.progress import Display, display, name, say
from experiments.store import Cell, Record, StorageError
from experiments.tuning import Choices, place_of, select
from experiments.work import Request

STALE = {
    "refuse": "say which records are stale, and stop",
    "rerun": "set them aside and run their cells again",
    "keep": "mix them with new ones",
}


@dataclass(frozen=True)
class Options:
    """How a plan is run."""

    out: Path
    workers: int | None = None  # processes; None: this one
    dask: str | None = None  # a scheduler's address or file, or "local"
    minutes: float | None = None  # that the sitting may last
    timeout: float | None = None  # seconds that a batch may take
    retry_failed: bool = False
    force: bool = False
    fail_fast: bool = False
    allow_infeasible: bool = False
    stale: str = "refuse"  # one of STALE

    def __post_init__(self) -> None:
        choose("--stale", self.stale, STALE)
        if self.dask == "":
            raise UsageError("--dask is empty: give a scheduler's address or file, or local.")
        for flag in ("workers", "minutes", "timeout"):
            value = getattr(self, flag)
            if value is not None and not value > 0:
                raise UsageError(f"--{flag} must be positive, got {value:g}.")
        if self.workers and self.dask:
            raise UsageError("Give --workers or --dask, not both.")
        if self.workers:
            executors.check_workers(self.workers)


@dataclass(frozen=True)
class Outcome:
    """What a sitting left."""

    records: list[Record]  # all of the folder's
    failed: int  # of the plan's cells
    left: int  # of the plan's cells
    ran: int  # cells, in this sitting


def run(plan: Plan, options: Options, console: Console) -> Outcome:
    """Run what is missing of a plan, then redo what is derived from its folder's records.

    Raises:
      UsageError: before any training, where the folder's records do not go with the plan.
      StorageError: if the folder cannot be written to any more; what is finished is kept.
      TeamLostError: if the Dask scheduler has gone.
      KeyboardInterrupt: after Ctrl-C; what is finished is kept.
    """
    watch = _Watch(options.minutes)
    with watch.over_interrupts(console):
        outcome = _run_phases(plan, options, console, watch)
    if watch.interrupted:
        raise KeyboardInterrupt
    return outcome


def _run_phases(plan: Plan, options: Options, console: Console, watch: "_Watch") -> Outcome:
    folder = options.out
    layout = lay_out(plan, options.allow_infeasible)
    with store.opened(folder):
        records = store.load(folder)
        stale = _stale(layout, records, options)
        earlier = store.read_manifest(folder)
        sitting = manifest.begin(earlier, plan, layout, _where(options))
        store.write_json(folder / "manifest.json", sitting)
        for record in stale:
            store.set_aside(folder, record)
        if stale:
            seats = set(map(_seat, layout.cells.values()))
            again = sum(_seat(record["config"]) in seats for record in stale)
            say(console, f"{len(stale)} stale records set aside, {again} of them of this plan.")
            records = store.load(folder)
        spent = {"compile_seconds": 0.0, "train_seconds": 0.0, "devices": []}
        ran, planned, left, idle = set(), set(), 0, False
        try:
            for part in by_dataset(layout):
                planned |= part.cells.keys()
                part, before, finished = _run_part(
                    part, records, plan, options, console, watch, spent
                )
                if finished:
                    records = store.load(folder)
                ran |= finished
                planned |= part.cells.keys()
                left += len(part.cells.keys() - before.keys() - finished) + len(part.later)
            idle = bool(earlier) and not ran and not left
        finally:
            with suppress(StorageError):
                kept = earlier if idle else manifest.finish(sitting, **spent)
                store.write_json(folder / "manifest.json", kept)
        redraw = captions.drawn(folder) != captions.digest(records)
        records = report.build(folder, with_figures=redraw and not watch.interrupted)
    failed = sum(r["status"] == "failed" for r in records if r["id"] in planned)
    return Outcome(records, failed, left, len(ran))


def _run_part(
    layout: Layout,
    records: Sequence[Record],
    plan: Plan,
    options: Options,
    console: Console,
    watch: "_Watch",
    spent: dict[str, Any],
) -> tuple[Layout, Mapping[str, str], set[str]]:
    """Run a layout's phase and, once that is whole, the one after it.

    Returns:
      the layout of the last phase begun, what of it was settled before, and the ids of what is
      finished now in either.
    """
    before = _before(layout, records, options)
    ran = _run_phase(layout, before, options, console, watch, spent)
    if layout.later and layout.cells.keys() <= before.keys() | ran:
        records = store.load(options.out) if ran else records
        layout = final_phase(layout, plan, _selected(layout, records))
        before = _before(layout, records, options)
        ran |= _run_phase(layout, before, options, console, watch, spent)
    return layout, before, ran


def _run_phase(
    layout: Layout,
    before: Mapping[str, str],
    options: Options,
    console: Console,
    watch: "_Watch",
    spent: dict[str, Any],
) -> set[str]:
    """Run what is not settled before; returns the ids of what is finished now."""
    todo = [cell for key, cell in layout.cells.items() if key not in before]
    if before or layout.later:
        of = f"{next(iter(layout.datasets))}: " if len(layout.datasets) == 1 else ""
        say(console, f"{of}{_counted(layout, before)}; {len(todo)} to run.")
    if not todo or watch.is_over():
        return set()
    return _train(todo, layout, options, console, watch, spent)


def _selected(layout: Layout, records: Sequence[Record]) -> Choices:
    return select(record for record in records if record["id"] in layout.cells)


def _before(layout: Layout, records: Sequence[Record], options: Options) -> dict[str, str]:
    """The cells that need not run: the status of each, by id."""
    check_compatible(layout, records)
    return settled(layout, records, retry_failed=options.retry_failed, force=options.force)


def _seat(cell: Cell) -> tuple[Any, ...]:
    """What a cell is of, whatever version of the code and the data."""
    return (*place_of(cell), cell["phase"], cell["seed"])


def _counted(layout: Layout, before: Mapping[str, str]) -> str:
    statuses = list(before.values())
    failed = statuses.count("failed")
    again = f", {failed} failed (--retry-failed runs them again)" if failed else ""
    phase = f"{layout.phase} phase, {len(layout.later)} cells after it: " if layout.later else ""
    return f"{phase}{len(layout.cells)} cells, {statuses.count('done')} of them done{again}"


def _stale(layout: Layout, records: list[Record], options: Options) -> list[Record]:
    """The stale records that are to be set aside.

    Raises:
      UsageError: if the records do not go with the plan, or cannot be set aside.
    """
    reasons = stale_reasons(layout, records, work.source_hash())
    forced = set(map(_seat, layout.later)) if options.force else set()
    if options.force:
        reasons = {key: reason for key, reason in reasons.items() if key not in layout.cells}
    stale = [record for record in records if record["id"] in reasons]
    kept = [record for record in stale if _seat(record["config"]) not in forced]
    if kept and options.stale == "refuse":
        lines = [f"  {name(r['config'])}: {reasons[r['id']]}" for r in kept]
        more = [f"  and {len(lines) - 5} more"] if len(lines) > 5 else []
        listed = "\n".join(lines[:5] + more)
        raise UsageError(
            f"{options.out} holds {len(kept)} stale records, of other code or data:\n{listed}\n"
            "Give another --out; or --stale rerun sets them aside and runs those of this plan "
            "again, --stale keep mixes them with new ones."
        )
    if options.stale == "keep":
        stale = [record for record in stale if _seat(record["config"]) in forced]
    store.check_loose(options.out, stale)
    aside = {record["id"] for record in stale}
    fresh = [record for record in records if record["id"] not in aside]
    check_compatible(layout, fresh)
    return stale


def _train(
    todo: Sequence[Cell],
    layout: Layout,
    options: Options,
    console: Console,
    watch: "_Watch",
    spent: dict[str, Any],
) -> set[str]:
    """Run cells and save their records; adds up in `spent` what it took. Returns their ids."""
    epochs, ran = sum(_epochs(cell) for cell in todo), set()
    with display(console, len(todo), epochs) as shown:

        def request(group: Group, cells: list[Cell]) -> Request:
            shown.begin(group, len(cells), _epochs(cells[0]))
            given = layout.given[group[0]]
            return work.make_request(cells, given, layout.strategies, options.allow_infeasible)

        with suppress(_Over), _team(options, shown, watch) as team:
            run = executors.run(
                in_groups(todo), request, team, options.timeout, watch.is_over, shown.wait
            )
            with closing(run) as replies:
                for reply in replies:
                    spent["compile_seconds"] += reply["compile_seconds"]
                    for found in reply["finished"]:
                        record = found["record"]
                        store.save(options.out, record, work.decode(found["arrays"]))
                        ran.add(record["id"])
                        spent["train_seconds"] += record["timing"].get("train_seconds", 0.0)
                        shown.finished(record, _epochs(record["config"]))
                        watch.stopped |= options.fail_fast and record["status"] == "failed"
                    spent["devices"] = [kind for worker in team() for kind in worker.devices]
    return ran


def _epochs(cell: Cell) -> int:
    return cell["training"].get("epochs", 0)


def _where(options: Options) -> str:
    if options.dask:
        return f"dask {options.dask}"
    return f"{options.workers} processes" if options.workers else "one process"


def _team(options: Options, shown: Display, watch: "_Watch") -> AbstractContextManager[Team]:
    if options.dask:
        return executors.dask(options.dask)
    if options.workers:
        return executors.pool(options.workers)

    def on_epochs(epochs: int) -> None:
        shown.advance(epochs)
        if watch.is_over():
            raise _Over

    return executors.here(on_epochs, options.timeout)


class _Over(BaseException):
    """The sitting ends within a batch."""


@dataclass
class _Watch:
    """When a sitting is over: by Ctrl-C, by a failure, or after so many minutes."""

    minutes: float | None
    interrupted: bool = False
    stopped: bool = False
    started: float = field(default_factory=time.monotonic)

    def is_over(self) -> bool:
        spent = time.monotonic() - self.started
        late = self.minutes is not None and spent > 60 * self.minutes
        return self.interrupted or self.stopped or late

    @contextmanager
    def over_interrupts(self, console: Console) -> Iterator[None]:
        """Within, the first Ctrl-C is noted; the second interrupts."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(*_: Any) -> None:
            self.interrupted = True
            signal.signal(signal.SIGINT, before)
            until = "the present chunk is done, or each worker's batch"
            say(console, f"stopping once {until}; Ctrl-C again: at once.")

        before = signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def dry_run(plan: Plan, options: Options) -> str:
    """What running a plan would do."""
    layout = lay_out(plan, options.allow_infeasible)
    exists = store.holds_sweep(options.out)
    records = store.load(options.out, set_aside=False) if exists else []

    stale = _stale(layout, records, options)
    aside = {record["id"] for record in stale}
    records = [record for record in records if record["id"] not in aside]
    parts = []
    for part in by_dataset(layout):
        if part.later and part.cells.keys() <= _before(part, records, options).keys():
            part = final_phase(part, plan, _selected(part, records))
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
        f"in {compilations(layout, todo)} compilations"
    )
    seconds = estimate([*todo, *layout.later], records, len(devices.cores()))
    if not todo:
        return f"{text}."
    if seconds is None:
        return f"{text}; how long they train, no record at hand tells."
    return f"{text}; about {seconds / 60:.1f} minutes of training on all cores, by the records."
