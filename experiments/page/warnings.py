"""What a reader must know before believing a sweep's numbers.

Each warning is a fixed text and, beside it, the names and counts that it is of.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.analysis.effects import ends_without_gradient
from experiments.analysis.planned import FEWEST_GROUPS
from experiments.analysis.statistics import FEWEST_SEEDS, FLOOR
from experiments.analysis.study import Study
from experiments.cells import Record
from experiments.console import counted
from experiments.training.strategies import is_coupled
from experiments.training.tuning import select


@dataclass(frozen=True)
class Caution:
    """Something that weakens the numbers."""

    text: str
    of: str = ""  # names and counts

    def __str__(self) -> str:
        return f"{self.text}: {self.of}" if self.of else self.text


def warnings(study: Study) -> list[Caution]:
    """Those that apply, the gravest first."""
    rankings, relative = study.rankings.items(), study.relative.items()
    groups = {of: len({group for one in every.values() for group in one}) for of, every in relative}
    weak = {of: counted(n, "group") for of, n in groups.items() if n < FEWEST_GROUPS}
    few = {of: counted(r.seeds, "seed") for of, r in rankings if r.seeds < FEWEST_SEEDS}
    found = [
        Caution("Planned cells without a record", _counts(study.missing)),
        Caution(f"Cells that failed; each counts as a skill of {FLOOR:g}", _counts(study.failures)),
        *mixed(study.manifest, study.records),
        Caution(f"Fewer groups than {FEWEST_GROUPS}, so that no verdict is given", _counts(weak)),
        Caution("Too few seeds to tell strategies apart", _counts(few)),
        Caution("Runs that end without a gradient at any output", _counts(_gradientless(study))),
        Caution("Not ranked", "; ".join(study.left_out)),
        Caution(
            "Not ranked, for they bound a sum of features",
            ", ".join(name for name in study.strategies if is_coupled(name)),
        ),
    ]
    found = [one for one in found if one.of]
    if {record.cell.phase for record in study.records} == {"final"}:
        found.insert(0, Caution("Nothing was tuned: every strategy ran with its defaults"))
    return found


def mixed(manifest: Mapping[str, Any], records: Sequence[Record]) -> list[Caution]:
    """What keeps a sweep's numbers from being compared with each other."""
    versions: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for record in records:
        cell, made = record.cell, record.fingerprint or {}
        versions["dataset"][cell.dataset].add(cell.data_hash)
        place = f"{cell.strategy} on {cell.dataset}"
        versions["strategy"][place].add(made.get("strategy", ""))
        place = f"{cell.dataset} {cell.backbone} {cell.phase}"
        versions["training program"][place].add(made.get("training", ""))
    found = []
    for kind, names in versions.items():
        several = {name: len(of) for name, of in names.items() if len(of) > 1}
        found.append(Caution(f"Records of several versions of a {kind}", _counts(several)))
    for key, kind in {"versions": "sets of packages", "processor": "processors"}.items():
        ran = {str(s[key]) for s in manifest.get("sessions", ()) if s.get(key)}
        found.append(Caution(f"Sessions with several {kind}", str(len(ran)) * (len(ran) > 1)))
    found.append(
        Caution("Final cells of another choice than validation makes now", _chosen_else(records))
    )
    broken = {
        name: f"{100 * of['infeasible']:.3g} %"
        for name, of in manifest.get("datasets", {}).items()
        if of.get("infeasible")
    }
    found.append(Caution("Targets that break their bounds", _counts(broken)))
    return [one for one in found if one.of]


def _chosen_else(records: Sequence[Record]) -> str:
    now = {place: choice.tuned for place, choice in select(records).items()}
    cells = [record.cell for record in records if record.cell.phase == "final"]
    odd = {cell.place for cell in cells if cell.tuned != now.get(cell.place, cell.tuned)}
    return ", ".join(
        f"{strategy} on {dataset} {backbone}" for strategy, dataset, backbone in sorted(odd)
    )


def _counts(found: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.items())


def _gradientless(study: Study) -> dict[str, int]:
    """By strategy."""
    found = Counter(
        record.cell.strategy
        for record in study.finals
        if ends_without_gradient(record, study.roles)
    )
    return dict(found.most_common())
