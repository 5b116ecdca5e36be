"""Where strategies stand over groups of datasets by skill, as tables."""

from collections.abc import Iterator

from experiments.analysis.ranking import Ranking
from experiments.analysis.statistics import FLOOR, REFERENCE
from experiments.analysis.study import Study
from experiments.analysis.tables import (
    GUARANTEE,
    STRATEGY,
    VIOLATION,
    Column,
    Entries,
    Table,
    by_backbone,
    by_strategy,
    slug,
)
from experiments.console import trimmed
from experiments.training.baselines import BASELINES
from experiments.training.strategies import holds, is_coupled

BOOTSTRAP = (
    "In brackets: 95 % interval by a bootstrap of the seeds, the same ones for every strategy and "
    "group; its percentiles are expanded for their number (Hesterberg, 2015). It leaves out the "
    "sampling of the data, and which datasets there are."
)


def every(study: Study) -> Iterator[Table]:
    yield headline(study)
    for backbone in study.rankings:
        yield skills_by_group(study, backbone)


def _ranked(study: Study) -> list[str]:
    """Those that the ranking is of, if there is one."""
    return [name for name in study.strategies if not is_coupled(name) and study.rankings]


def headline(study: Study) -> Table:
    """Where each strategy stands on each backbone, best first."""
    rankings = study.rankings

    def share(backbone: str, metric: str) -> Entries:
        return {name: shares[metric] for name, shares in rankings[backbone].shares.items()}

    def order(name: str) -> float:
        return -sum(r.skill[name].value if name in r.skill else -2.0 for r in rankings.values())

    names = sorted(_ranked(study), key=order)
    measures = {
        Column("skill"): lambda of: rankings[of].skill,
        Column("failing", "runs without skill", percent=True): lambda of: rankings[of].failing,
        Column("baselines_above"): lambda of: _baselines_above(rankings[of]),
        VIOLATION: lambda of: share(of, "violation_rate"),
        Column("blocked", percent=True): lambda of: share(of, "blocked_fraction"),
    }
    failed = {name: study.failures[name] for name in names}
    return by_strategy(
        "headline",
        "ranking",
        "Where every strategy stands over the groups of study datasets, best first",
        names,
        {
            GUARANTEE: {name: holds(name) for name in names},
            **by_backbone(rankings, measures),
            **({Column("failed", "failed cells"): failed} if study.failures else {}),
        },
        notes=(
            f"Skill of a run: 1 − mse / mse of `{REFERENCE}`, at least {FLOOR:g}; without skill is "
            "one with 0 or less. Both are averaged over runs, the datasets of a group, and groups.",
            BOOTSTRAP,
            "Violation and blocked: share of outputs, mean over groups.",
            *(
                f"Groups ranked on {of}: {', '.join(map(trimmed, ranking.scores.groups))}."
                for of, ranking in rankings.items()
            ),
        ),
    )


def _baselines_above(ranking: Ranking) -> dict[str, int]:
    """How many baselines have a higher skill than each trained strategy."""
    skills = {name: found.value for name, found in ranking.skill.items()}
    baselines = [skills[name] for name in BASELINES if name in skills]
    trained = skills.keys() - BASELINES.keys()
    return {name: sum(value > skills[name] for value in baselines) for name in trained}


def skills_by_group(study: Study, backbone: str) -> Table:
    """Mean skill group by group, which the ranking is the mean of."""
    ranking = study.rankings[backbone]
    scores = ranking.scores
    return Table(
        f"skill-{slug(backbone)}",
        "groups",
        f"Skill group by group, {backbone}",
        (STRATEGY, *(Column(slug(name), trimmed(name)) for name in scores.groups)),
        [
            (name, *scores.of(name).mean(axis=0).tolist())
            for name in _ranked(study)
            if name in scores.strategies
        ],
        notes=(f"Means over {ranking.seeds} seeds; their mean is the skill in the ranking.",),
    )
