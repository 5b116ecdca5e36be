"""Where strategies stand over groups of datasets, as tables: the ranking and its comparisons."""

import math
from collections.abc import Iterable
from typing import Any

from experiments.baselines import BASELINES
from experiments.protocol import GUARANTEE, STRATEGY
from experiments.statistics import FLOOR, PLANNED, REFERENCE
from experiments.strategies import COUPLED
from experiments.study import SHARES, Ranking, Study, finals, holds
from experiments.tables import Column, Entry, Table, slug, text_of

BOOTSTRAP = (
    "In brackets: 95 % interval by a bootstrap of the seeds, the same ones for every strategy and "
    "group, for a seed gives them the same initial weights; its percentiles are expanded for the "
    "number of seeds (Hesterberg, 2015). It leaves out the sampling of the "
    "data, and which datasets there are."
)


def headline(study: Study) -> Table:
    """Where each strategy stands on each backbone, best first."""
    rankings = study.rankings
    failed = _failures(study)

    def row(name: str) -> tuple[Entry, ...]:
        cells: list[Entry] = [name, holds(name)]
        cells += [ranking.skill.get(name) for ranking in rankings.values()]
        cells += [ranking.failing.get(name) for ranking in rankings.values()]
        cells += [_beaten(ranking, name) for ranking in rankings.values()]
        cells += [ranking.rank.get(name) for ranking in rankings.values()]
        for metric in SHARES:
            cells += [r.shares.get(name, {}).get(metric) for r in rankings.values()]
        return (*cells, failed.get(name, 0)) if failed else tuple(cells)

    def order(name: str) -> float:
        return -sum(r.skill[name].value if name in r.skill else -2.0 for r in rankings.values())

    groups: dict[tuple[str, ...], list[str]] = {}
    for of, ranking in rankings.items():
        groups.setdefault(ranking.scores.groups, []).append(of)
    notes = [
        f"Groups ranked on {' and '.join(where)}: {', '.join(names)}."
        for names, where in groups.items()
    ]
    p_value = Column("", "")
    notes += [
        f"Friedman's test that the trained strategies of {of} do not differ, over "
        f"{len(r.scores.groups)} groups: p {text_of(r.friedman, p_value)}."
        for of, r in rankings.items()
        if not math.isnan(r.friedman) and is_powered(r)
    ]
    return Table(
        "headline",
        "Where every strategy stands over the groups of study datasets, best first",
        (
            STRATEGY,
            GUARANTEE,
            *by_backbone("skill", "skill", rankings),
            *by_backbone("failing", "runs without skill", rankings, percent=True),
            *by_backbone("baselines_above", "baselines above", rankings),
            *by_backbone("rank", "rank", rankings, digits=2),
            *by_backbone("violation_rate", "violation", rankings, percent=True),
            *by_backbone("blocked", "blocked", rankings, percent=True),
            *([Column("failed", "failed cells")] if failed else []),
        ),
        tuple(row(name) for name in sorted(_ranked(study), key=order)),
        notes=(
            f"Skill: mean over runs of 1 − mse / mse of `{REFERENCE}`, each at least {FLOOR:g}, "
            "over the datasets of a group and then over groups; a run without skill has 0 or less "
            f"on its dataset. {BOOTSTRAP}",
            "Rank: by mean skill within each group (1 is best), averaged. Violation and blocked: "
            "share of outputs, mean over groups.",
            *notes,
        ),
    )


def _ranked(study: Study) -> list[str]:
    """Those that the ranking is of, if there is one."""
    return [name for name in study.strategies if name not in COUPLED and study.rankings]


def loses_to(ranking: Ranking, strategy: str) -> list[str]:
    """The baselines whose skill is above a trained strategy's."""
    known = [name for name in (*BASELINES, strategy) if name in ranking.skill]
    if strategy in BASELINES or strategy not in known:
        return []
    least = ranking.skill[strategy].value
    return [name for name in known[:-1] if ranking.skill[name].value > least]


def _beaten(ranking: Ranking, strategy: str) -> int | None:
    known = strategy in ranking.skill and strategy not in BASELINES
    return len(loses_to(ranking, strategy)) if known else None


def is_powered(ranking: Ranking) -> bool:
    """Whether there are groups enough for significance."""
    planned = ranking.comparisons.values()
    return bool(planned) and not any(found.underpowered for found in planned)


def against_clip(study: Study) -> Table:
    """Every strategy's skill less that of `clip`: descriptive."""
    rankings = study.rankings
    return Table(
        "against_clip",
        "Every strategy against clip (descriptive)",
        (
            STRATEGY,
            *by_backbone("gain", "difference of skill", rankings, signed=True),
            *by_backbone("improvement", "probability of improvement", rankings),
            *by_backbone("with_skill", "skill of runs with skill", rankings),
            *by_backbone("middle", "interquartile mean skill", rankings),
        ),
        tuple(
            (
                name,
                *(
                    ranking.difference(name, "clip")
                    if name in ranking.skill and name != "clip"
                    else None
                    for ranking in rankings.values()
                ),
                *(ranking.improvement.get(name) for ranking in rankings.values()),
                *(ranking.with_skill.get(name) for ranking in rankings.values()),
                *(ranking.middle.get(name) for ranking in rankings.values()),
            )
            for name in _ranked(study)
        ),
        notes=(
            f"Difference of mean skills. {BOOTSTRAP}",
            "A run is here a seed on a group of datasets, whose mean is its score. "
            "Probability of improvement: that a run scores higher than one of `clip` on the same "
            "group; a tie counts half. Skill of runs with skill: mean of those above 0 on each "
            "dataset, averaged as above; it flatters whoever has runs without. Interquartile "
            "mean: of the middle half of all runs, which leaves out those that fail, and those "
            "that shine.",
        ),
    )


def comparisons(study: Study) -> Table:
    """The comparisons planned in advance."""
    rows: list[tuple[Entry, ...]] = []
    for name, question in PLANNED.items():
        for backbone, ranking in study.rankings.items():
            if name in ranking.comparisons:
                found = ranking.comparisons[name]
                gain = ranking.difference(name, "clip")
                p_value: Entry = "underpowered" if found.underpowered else found.p_value
                wins = found.better, found.groups
                rows.append((name, backbone, question, gain, *wins, p_value))
    return Table(
        "planned_comparisons",
        "The comparisons with clip that were planned in advance",
        (
            STRATEGY,
            Column("backbone", "backbone"),
            Column("question", "question"),
            Column("difference", "difference of mean skill", signed=True),
            Column("better", "groups where better"),
            Column("groups", "groups"),
            Column("p_value", "p, by Holm"),
        ),
        tuple(rows),
        keys=2,
        notes=(
            "p: Wilcoxon's signed-rank test over groups, adjusted by Holm for the comparisons on "
            "a backbone, not for there being two. Underpowered: with so few groups no outcome "
            "could reach 0.05, and no conclusion is drawn.",
            BOOTSTRAP,
        ),
    )


def skills(study: Study) -> dict[str, Table]:
    """A table a backbone: mean skill group by group, which the ranking is the mean of."""
    return {
        of: Table(
            f"skill-{of}",
            f"Skill group by group, {of}",
            (STRATEGY, *(Column(slug(name), name) for name in ranking.scores.groups)),
            tuple(
                (name, *ranking.scores.of(name).mean(axis=0).tolist())
                for name in _ranked(study)
                if name in ranking.scores.strategies
            ),
            notes=(f"Means over {ranking.seeds} seeds; their mean is the skill in the ranking.",),
        )
        for of, ranking in study.rankings.items()
    }


def without_skill(study: Study) -> Table:
    """Who failed where, and with which seeds."""
    rows: list[tuple[Entry, ...]] = []
    for name in _ranked(study):
        for of, ranking in study.rankings.items():
            if name in BASELINES or name not in ranking.apart.strategies:
                continue
            for dataset, scores in zip(ranking.apart.groups, ranking.apart.of(name).T, strict=True):
                if len(seeds := (scores <= 0).nonzero()[0]):
                    rows.append((name, of, dataset, len(seeds), ", ".join(map(str, seeds))))
    return Table(
        "without_skill",
        "Runs without skill: who failed where",
        (
            STRATEGY,
            Column("backbone", "backbone"),
            Column("dataset", "dataset"),
            Column("runs", "runs without skill"),
            Column("seeds", "their seeds"),
        ),
        tuple(rows),
        keys=3,
        notes=(
            "A seed gives the same initial weights to every strategy, on every dataset of the same "
            "shapes.",
        ),
    )


def _failures(study: Study) -> dict[str, int]:
    found: dict[str, int] = {}
    for record in finals(study):
        if record["status"] == "failed":
            name = record["config"]["strategy"]["name"]
            found[name] = found.get(name, 0) + 1
    return found


def by_backbone(key: str, title: str, backbones: Iterable[str], **shown: Any) -> list[Column]:
    return [Column(f"{key}_{of}", f"{title}, {of}", **shown) for of in backbones]
