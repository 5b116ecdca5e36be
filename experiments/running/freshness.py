"""Whether a folder's records are what this code and these data would give."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rich import progress
from rich.console import Console

from experiments import store
from experiments.cells import METRIC_VERSION, Cell, Place, Record, canonical
from experiments.console import counted, say
from experiments.data.catalogue import DATASETS
from experiments.data.datasets import load
from experiments.running.fingerprints import Fingerprint, Part, fingerprints, surroundings
from experiments.running.options import Options
from experiments.running.plan import Layout
from experiments.training.own_strategies import resolve
from experiments.training.strategy_names import is_own
from experiments.training.strategy_rows import Strategy
from experiments.usage import UsageError

Track = Callable[[Sequence[Part]], Iterable[Part]]
MOST_NAMES = 6  # of strategies, in a message on stale records
MANY = 20  # programs to trace, from which on it is said


def stale_records(
    layout: Layout, records: Sequence[Record], options: Options, console: Console
) -> list[Record]:
    """The stale records that are to be set aside.

    Raises:
      UsageError: if the records do not go with the plan, or cannot be set aside.
    """
    current = current_fingerprints(layout, records, tracked(console))
    reasons = stale_reasons(layout, records, current)
    forced = {cell.seat for cell in layout.later} if options.force else set()
    if options.force:
        reasons = {key: reason for key, reason in reasons.items() if key not in layout.cells}
    stale = [record for record in records if record.id in reasons]
    kept = [record for record in stale if record.cell.seat not in forced]
    if kept and options.stale == "refuse":
        raise UsageError(
            f"{options.out} holds {counted(len(kept), 'stale record')}:\n{_listed(kept, reasons)}\n"
            "Give another --out; or --stale rerun sets them aside and runs those of this plan "
            "again, --stale keep mixes them with new ones."
        )
    if options.stale == "keep":
        stale = [record for record in stale if record.cell.seat in forced]
    store.check_loose(options.out, stale)
    check_compatible(layout, without(records, stale))
    return stale


def without(records: Iterable[Record], those: Iterable[Record]) -> list[Record]:
    aside = {record.id for record in those}
    return [record for record in records if record.id not in aside]


def _listed(stale: Sequence[Record], reasons: Mapping[str, str]) -> str:
    """How many records are stale for which reason, and of which strategies."""
    found: dict[str, list[str]] = {}
    for record in stale:
        found.setdefault(reasons[record.id], []).append(record.cell.strategy)
    lines = []
    for reason, strategies in found.items():
        names = sorted(set(strategies))
        more = [f"and {len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES else []
        lines.append(f"  {len(strategies)}: {reason} ({', '.join(names[:MOST_NAMES] + more)})")
    return "\n".join(lines)


def tracked(console: Console) -> Track:
    """Says that programs are traced, which takes up to minutes after a change of the sources."""

    def track(todo: Sequence[Part]) -> Iterable[Part]:
        if console.is_terminal:
            return progress.track(todo, "tracing programs", console=console, transient=True)
        if len(todo) > MANY:
            say(console, f"tracing {len(todo)} programs, which is done once for these sources.")
        return todo

    return track


def check_compatible(layout: Layout, records: Sequence[Record]) -> None:
    """Refuse to extend a folder by cells of another model or training: in its tables they could
    not be told apart. Sizes of networks can, where the backbones' names end in them.

    Raises:
      UsageError: with the first setting that differs.
    """

    trained = [cell for cell in layout.cells.values() if cell.is_trained]
    tuned = {cell.place: cell.tuned for cell in layout.cells.values()}
    for place, cell in of_other_choices(layout, records).items():
        raise UsageError(
            f"The folder holds final cells of {' '.join(place)} with {cell.tuned}, this plan chose "
            f"{tuned[place]}. Give another --out, or the --tuning-seeds that it was made with, "
            "and the --learning-rates."
        )
    for cell in (record.cell for record in records if record.cell.is_trained and trained):
        like = next((one for one in trained if one.backbone == cell.backbone), trained[0])
        if _is_sized(like) != _is_sized(cell):
            raise UsageError(
                f"The folder holds cells of {cell.backbone}, this plan has {like.backbone}: of one "
                "size of network, or of several. Give another --out, or every size to --hidden."
            )
        planned, present = like.settings, cell.settings
        apart = {"hidden"} if _is_sized(like) and _is_sized(cell) else set()
        for name in sorted(planned.keys() | present.keys()):
            if planned.get(name) != present.get(name) and name not in apart:
                raise UsageError(
                    f"The folder holds cells with {name} {present.get(name)}, this plan has "
                    f"{name} {planned.get(name)}. Give another --out."
                )


def _is_sized(cell: Cell) -> bool:
    """Whether its backbone's name has the network's size."""
    return cell.network != cell.backbone


def of_other_choices(layout: Layout, records: Iterable[Record]) -> dict[Place, Cell]:
    """Where the final cells at hand are all of other hyperparameters than the layout's, by place:
    one of them, of those that most are of."""
    final = [cell for cell in layout.cells.values() if cell.phase == "final"]
    planned = {cell.place: canonical(cell.tuned) for cell in final if cell.is_trained}
    there: dict[Place, dict[str, list[Cell]]] = {}
    for cell in (record.cell for record in records):
        if cell.phase == "final" and cell.place in planned and "learning_rate" in cell.training:
            choices = there.setdefault(cell.place, {})
            choices.setdefault(canonical(cell.tuned), []).append(cell)
    return {
        place: max(choices.values(), key=len)[0]
        for place, choices in there.items()
        if planned[place] not in choices
    }


def stale_reasons(
    layout: Layout, records: Sequence[Record], current: Mapping[str, Fingerprint]
) -> dict[str, str]:
    """Why records are not what this code and these data would give, by id.

    Args:
      layout: what is planned.
      records: the folder's.
      current: what their cells would be made by now, by id; see `fingerprints`.
    """
    reasons = {}
    for record in records:
        cell, planned = record.cell, layout.datasets.get(record.cell.dataset)
        if cell.metric_version != METRIC_VERSION:
            reason = f"metrics of version {cell.metric_version}, now {METRIC_VERSION}"
        elif planned and planned.hash != cell.data_hash:
            reason = f"the data of {cell.dataset} changed"
        elif record.sources and record.fingerprint is None:
            reason = "made before records had fingerprints"
        elif record.fingerprint is not None:
            now = current.get(record.id, surroundings())
            reason = _changed(record.fingerprint, now, cell.strategy)
        else:  # written by hand
            reason = None
        if reason:
            reasons[record.id] = reason
    return reasons


def _changed(before: Mapping[str, Any], now: Fingerprint, strategy: str) -> str | None:
    """What is another now than in a record's fingerprint."""
    versions = before.get("versions") or {}
    for package, number in now["versions"].items():
        if versions.get(package) != number:
            return f"{package} {versions.get(package)}, now {number}"
    then, present = (found.get("settings") or {} for found in (before, now))
    for name in sorted(then.keys() | present.keys()):
        if then.get(name) != present.get(name):
            return f"{name} was {then.get(name, 'not set')}, now {present.get(name, 'not set')}"
    parts = {
        "strategy": f"the program of {strategy} changed",
        "training": "the program that trains and measures changed",
        "host": "the code around the programs changed",
    }
    said = [text for part, text in parts.items() if part in now and now[part] != before.get(part)]
    return said[0] if said else None


def own_strategies(layout: Layout) -> dict[str, Strategy]:
    """The user's, by name."""
    return {name: resolve(name) for name in layout.strategies if is_own(name)}


def current_fingerprints(
    layout: Layout, records: Iterable[Record], track: Track
) -> dict[str, Fingerprint]:
    """What records would be made by now, by id.

    Not of those whose dataset is a file, or whose strategy is the user's, that is not planned, nor
    of those without a fingerprint to compare.
    """
    cells = [record.cell for record in records if record.fingerprint is not None]
    names = {cell.dataset for cell in cells if cell.dataset in DATASETS}
    others = {name: load(name) for name in names - layout.datasets.keys()}
    return fingerprints(cells, others | layout.datasets, own_strategies(layout), track)
