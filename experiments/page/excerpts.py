"""What stands on top of the page: what was run, and the longest tables in short."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.analysis.study import Study
from experiments.analysis.tables import Entry, Table, is_missing, plain, slug
from experiments.console import trimmed
from experiments.training.baselines import BASELINES

RANKED = {  # columns of the short ranking, by those of the whole one
    "strategy": "strategy",
    "guarantee": "bound holds",
    "skill": "skill",
    "failing": "runs without skill",
    "violation_rate": "outside the bounds",
}
COMPARED = (  # columns of the short comparisons
    "strategy",
    "backbone",
    "verdict",
    "center",
    "alike",
    "better",
    "groups",
    "p_difference",
    "p_equivalence",
    "violation_rate",
)
SETTINGS = (  # rows of the short settings
    "hidden",
    "epochs",
    "batches per epoch",
    "batch",
    "start",
    "seeds",
    "tuning seeds",
    "learning rates tried",
    "python",
    "jax",
    "processor",
    "devices",
    "revision",
)
MOST_NAMED = 12  # datasets on top
NETWORKS = {
    "bottleneck": "bottleneck: the decoder sees the code alone",
    "conditioned": "conditioned: it also sees the input",
}


def shortened(study: Study, tables: Mapping[str, Sequence[Table]]) -> dict[str, list[Table]]:
    """What the page shows of the longest tables, which it also has whole or as a file."""
    rankings = [
        _best_first(_columns(whole, f"ranking-{slug(of)}", NETWORKS.get(of, trimmed(of)), keys))
        for whole in tables["ranking"]
        for of in study.rankings
        if (keys := {_of_backbone(key, of): title for key, title in RANKED.items()})
    ]
    comparisons = [
        _columns(whole, "comparisons-short", "The planned comparisons", dict.fromkeys(COMPARED, ""))
        for whole in tables["comparisons"]
        if whole.name == "planned_comparisons"
    ]
    settings = [
        replace(whole, caption="Settings", rows=[row for row in whole.rows if row[0] in SETTINGS])
        for whole in tables["settings-each"]
        if whole.name == "settings"
    ]
    return {"rankings": rankings, "comparisons": comparisons, "settings": settings}


def _of_backbone(key: str, backbone: str) -> str:
    return key if key in ("strategy", "guarantee") else f"{key}_{backbone}"


def _columns(whole: Table, name: str, caption: str, titles: Mapping[str, str]) -> Table:
    """Some of a table's columns, by key, with another title where one is given."""
    keys = [column.key for column in whole.columns]
    places = [keys.index(key) for key in titles]
    columns = [
        replace(whole.columns[place], heading=title or whole.columns[place].heading)
        for place, title in zip(places, titles.values(), strict=True)
    ]
    rows = [tuple(row[place] for place in places) for row in whole.rows]
    return Table(name, whole.section, caption, columns, rows)


def _best_first(ranking: Table) -> Table:
    """Of those that are ranked there."""

    def skill(row: tuple[Entry, ...]) -> float:
        value = plain(row[2])
        return math.nan if is_missing(value) or isinstance(value, str) else float(value or 0)

    ranked = [row for row in ranking.rows if not math.isnan(skill(row))]
    return replace(ranking, rows=sorted(ranked, key=skill, reverse=True))


def counts(study: Study) -> dict[str, int]:
    """What was compared, in numbers."""
    untrained = [name for name in study.strategies if name in BASELINES]
    return {
        "trained": len(study.strategies) - len(untrained),
        "untrained": len(untrained),
        "runs": len(study.finals),
        "seeds": len({record.cell.seed for record in study.finals}),
    }


def ran(study: Study) -> dict[str, Any]:
    """What was compared, by name."""
    epochs = {record.cell.epochs for record in study.finals} - {0}
    return {
        "datasets": [trimmed(name) for name in study.every_dataset[:MOST_NAMED]],
        "more_datasets": max(0, len(study.every_dataset) - MOST_NAMED),
        "backbones": [NETWORKS.get(name, trimmed(name)) for name in study.backbones],
        "epochs": ", ".join(map(str, sorted(epochs))),
    }
