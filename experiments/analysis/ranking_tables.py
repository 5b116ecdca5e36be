"""Where strategies stand over groups of datasets, as tables: the ranking and its comparisons."""

import math
from collections.abc import Iterator

from experiments.analysis.ranking import Ranking
from experiments.analysis.statistics import FLOOR, PLANNED, REFERENCE
from experiments.analysis.study import Study
from experiments.analysis.tables import (
    GUARANTEE,
    STRATEGY,
    VIOLATION,
    Column,
    Entries,
    Entry,
    Table,
    by_backbone,
    by_strategy,
    slug,
    text_of,
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
    yield without_skill(study)
    yield comparisons(study)
    yield against_clip(study)


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
        Column("rank", digits=2): lambda of: rankings[of].rank,
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
            "Rank: by mean skill within each group (1 is best), averaged. Violation and blocked: "
            "share of outputs, mean over groups.",
            *(_groups(of, ranking) for of, ranking in rankings.items()),
            *_among_all(study),
        ),
    )


def _among_all(study: Study) -> Iterator[str]:
    """What is said where some strategies are not shown."""
    if study.choice.strategies is not None:
        yield "Ranks, baselines above and p-values are among all strategies of the sweep."


def _baselines_above(ranking: Ranking) -> dict[str, int]:
    """How many baselines have a higher skill than each trained strategy."""
    skills = {name: found.value for name, found in ranking.skill.items()}
    baselines = [skills[name] for name in BASELINES if name in skills]
    trained = skills.keys() - BASELINES.keys()
    return {name: sum(value > skills[name] for value in baselines) for name in trained}


def _groups(backbone: str, ranking: Ranking) -> str:
    """What a ranking is over, and whether it is more than chance."""
    said = f"Groups ranked on {backbone}: {', '.join(map(trimmed, ranking.scores.groups))}."
    if not (ranking.is_underpowered or math.isnan(ranking.friedman)):
        p_value = text_of(ranking.friedman, Column("p"))
        said += f" Friedman's test that its trained strategies do not differ: p {p_value}."
    return said


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
        "groups",
        "Runs without skill: who failed where",
        (
            STRATEGY,
            Column("backbone"),
            Column("dataset"),
            Column("runs", "runs without skill"),
            Column("seeds", "their seeds"),
        ),
        rows,
        keys=3,
        notes=(
            "A seed gives the same initial weights to every strategy, on every dataset of the same "
            "shapes.",
        ),
    )


def comparisons(study: Study) -> Table:
    """The comparisons planned in advance."""
    rows: list[tuple[Entry, ...]] = []
    for name, question in PLANNED.items():
        if not study.choice.shows(name):
            continue
        for of, ranking in study.rankings.items():
            if found := ranking.comparisons.get(name):
                p_value = "underpowered" if found.underpowered else found.p_value
                gain = ranking.difference(name, "clip")
                rows.append((name, of, question, gain, found.better, found.groups, p_value))
    return Table(
        "planned_comparisons",
        "comparisons",
        "The comparisons with clip that were planned in advance",
        (
            STRATEGY,
            Column("backbone"),
            Column("question"),
            Column("difference", "difference of mean skill", signed=True),
            Column("better", "groups where better"),
            Column("groups"),
            Column("p_value", "p, by Holm"),
        ),
        rows,
        keys=2,
        notes=(
            "p: Wilcoxon's signed-rank test over groups, adjusted by Holm for the comparisons on "
            "one backbone. Underpowered: with so few groups no outcome could reach 0.05.",
            BOOTSTRAP,
            *_among_all(study),
        ),
    )


def against_clip(study: Study) -> Table:
    """Every strategy's skill less that of `clip`: descriptive."""
    rankings = study.rankings

    def gain(backbone: str) -> Entries:
        ranking = rankings[backbone]
        return {name: ranking.difference(name, "clip") for name in ranking.skill if name != "clip"}

    measures = {
        Column("gain", "difference of skill", signed=True): gain,
        Column("improvement", "probability of improvement"): lambda of: rankings[of].improvement,
        Column("with_skill", "skill of runs with skill"): lambda of: rankings[of].with_skill,
        Column("middle", "interquartile mean skill"): lambda of: rankings[of].middle,
    }
    return by_strategy(
        "against_clip",
        "comparisons",
        "Every strategy against clip (descriptive)",
        _ranked(study),
        by_backbone(rankings, measures),
        notes=(
            f"Difference of mean skills. {BOOTSTRAP}",
            "Probability of improvement: that a run scores higher than one of `clip` on the same "
            "group; a tie counts half. A run's score on a group is its mean over the datasets.",
            "Skill of runs with skill: it flatters a strategy whose other runs fail. Interquartile "
            "mean: of the middle half of all runs.",
        ),
    )
