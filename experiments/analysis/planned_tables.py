"""The planned comparisons as tables, every strategy beside them, and what could have been shown."""

import math
from collections.abc import Iterator

from experiments.analysis import planned, pooling
from experiments.analysis.columns import (
    ALIKE,
    BACKBONE,
    BETWEEN,
    CENTER,
    CHANGE,
    GROUPS,
    MIDDLE,
    NEVER,
    OVER,
    SEEDS,
    STARTED,
    of_pooled,
    percent_change,
    settled,
    share_of,
)
from experiments.analysis.effects import AGAINST, Effect
from experiments.analysis.planned import BEFOREHAND, FEWEST_GROUPS, MARGIN, PLANNED, Comparison
from experiments.analysis.statistics import Estimate, rank_correlation
from experiments.analysis.study import Study
from experiments.analysis.tables import (
    STRATEGY,
    VIOLATION,
    Column,
    Entries,
    Entry,
    Table,
    by_backbone,
    by_strategy,
)
from experiments.training.baselines import BASELINES
from experiments.training.strategies import holds, is_coupled

UNIT = (
    f"Error: by how much the mse differs from that of `{AGAINST}`, by the mean logarithm of the "
    "ratio over seeds and groups; less is better."
)
FREE = "unconstrained"
TWO_SOURCES = (
    "In brackets: 95 % interval over groups, by t (random effects: Paule and Mandel; Hartung, "
    "Knapp, Sidik and Jonkman). A group on which the strategy is erratic weighs less; groups "
    "alike: the plain mean over groups, with its interval. Where a strategy does on one group just "
    "what it is compared with, that group has no error and takes all the weight: look at groups "
    "alike."
)
ROBUST = (
    "Median error: of groups, of the median over their seeds, with an interval by order "
    "statistics. One enormous ratio pulls the mean, widens its interval and leaves the median."
)
STARTS = (
    "A run never starts if no output has a gradient. Such runs count in all but the error where "
    "both start, in which each group counts alike. Failed runs have no error, and count nowhere."
)


def every(study: Study) -> Iterator[Table]:
    yield comparisons(study)
    yield clear(study)
    yield by_group(study)
    yield every_strategy(study)
    yield never_start(study)
    yield power(study)


def _shown(study: Study) -> list[Comparison]:
    return [found for found in study.comparisons if study.choice.shows(found.strategy)]


def _violations(study: Study, backbone: str, strategy: str) -> dict[str, float]:
    """The violation rate by group, a mean over its datasets."""
    by_group: dict[str, list[float]] = {}
    for dataset, group in study.groups.items():
        if (strategy, dataset, backbone) in study.runs:
            found = study.mean(dataset, backbone, strategy, "violation_rate")
            by_group.setdefault(group, []).append(found)
    return {group: sum(of) / len(of) for group, of in by_group.items()}


def _correlation(study: Study, found: Comparison) -> float:
    """Of ranks over groups: of how often the free network lies outside, and of the effect; NaN
    where there is none."""
    outside = _violations(study, found.backbone, FREE)
    every = found.effects.items()
    return rank_correlation([(outside[of], one.value) for of, one in every if of in outside])


def comparisons(study: Study) -> Table:
    """Verdicts, with all that they rest on."""

    def row(found: Comparison) -> tuple[Entry, ...]:
        of, name, pooled = found.backbone, found.strategy, found.pooled
        medians = [one.median for one in found.effects.values()]
        low, high = map(share_of, pooled.prediction)
        violations = _violations(study, of, name).values()
        return (
            name,
            of,
            found.verdict,
            percent_change(*found.center),
            of_pooled(pooled),
            of_pooled(planned.alike(found.effects.values())),
            low,
            high,
            settled(pooled.between),
            percent_change(*pooling.median(medians)),
            share_of(planned.started(found.effects.values())),
            found.better,
            pooled.groups,
            settled(found.p_difference),
            settled(found.p_equivalence),
            settled(study.never_start(of, name)),
            settled(sum(violations) / len(violations)),
            settled(_correlation(study, found)),
        )

    return Table(
        "planned_comparisons",
        "comparisons",
        f"The comparisons with {AGAINST} that were planned in advance",
        (
            STRATEGY,
            BACKBONE,
            Column("verdict"),
            CENTER,
            CHANGE,
            ALIKE,
            Column("prediction_low", "on a new group, from", percent=True, signed=True),
            Column("prediction_high", "to", percent=True, signed=True),
            BETWEEN,
            MIDDLE,
            STARTED,
            Column("better", "groups where better"),
            GROUPS,
            Column("p_difference", "p, no difference"),
            Column("p_equivalence", "p, not equivalent"),
            NEVER,
            VIOLATION,
            Column("correlation_outside", "rank correlation with free outputs outside", digits=2),
        ),
        list(map(row, _shown(study))),
        keys=2,
        notes=(
            f"{UNIT} {TWO_SOURCES}",
            "Verdicts are by the signed-rank test over groups (Wilcoxon, 1945), which one group "
            "cannot carry away. "
            f"Equivalent: shown to be within {100 * math.expm1(MARGIN):.3g} %, by two one-sided "
            "tests; that comes first, as the margin says what counts. Better, worse: shown to "
            "differ. Error by rank: what the test is about, the median of the means of pairs of "
            "groups (Hodges and Lehmann, 1963), and what it does not reject at 95 %. Both p are "
            "adjusted by Holm for "
            f"{len(study.comparisons)} comparisons, all backbones together. Open: nothing is "
            f"shown, or there are fewer than {FEWEST_GROUPS} groups.",
            "On a new group: 95 % prediction interval. Spread of groups: standard deviation of "
            "the logarithm of the ratio, beyond what seeds and test data explain.",
            ROBUST,
            STARTS,
            "Violation: of the strategy, a mean over groups. A penalty is not clipped when it is "
            f"evaluated, and is compared as it is; `{AGAINST}` never violates a bound. Rank "
            "correlation: over groups, of the error with the violation of a network trained "
            "without a bound (Spearman); below 0 where training with the bound helps most where "
            "the free network is outside most.",
            *(f"`{name}`: {question}" for name, question in PLANNED.items()),
        ),
    )


def clear(study: Study) -> Table:
    """On how many groups an interval leaves out 0."""
    shown = _shown(study)
    rows: list[tuple[Entry, ...]] = []
    for strategy in dict.fromkeys(one.strategy for one in shown):
        here = [one for one in shown if one.strategy == strategy]
        for name, those in [(one.backbone, [one]) for one in here] + [("all", here)]:
            ends = [effect.interval for one in those for effect in one.effects.values()]
            better = sum(high < 0 for _, high in ends)
            rows.append((strategy, name, better, sum(low > 0 for low, _ in ends), len(ends)))
    return Table(
        "clear_differences",
        "comparisons-each",
        "The planned comparisons: groups whose own interval leaves out 0",
        (STRATEGY, BACKBONE, Column("better"), Column("worse"), Column("of")),
        rows,
        keys=2,
        notes=(
            "By the 95 % interval on the group, for each by itself: of 40 such intervals one "
            "leaves out 0 on either side by chance.",
        ),
    )


def by_group(study: Study) -> Table:
    """What the comparisons are of."""
    rows: list[tuple[Entry, ...]] = []
    for found in _shown(study):
        outside = _violations(study, found.backbone, FREE)
        for group, one in found.effects.items():
            rows.append(
                (
                    found.strategy,
                    found.backbone,
                    group,
                    _of_group(one),
                    one.over,
                    share_of(one.median),
                    share_of(one.started),
                    one.seeds,
                    settled(outside.get(group, math.nan)),
                )
            )
    return Table(
        "planned_by_group",
        "comparisons-each",
        "The planned comparisons, group by group",
        (
            STRATEGY,
            BACKBONE,
            Column("group"),
            CHANGE,
            OVER,
            MIDDLE,
            STARTED,
            SEEDS,
            Column("outside", "free outputs outside", percent=True),
        ),
        rows,
        keys=3,
        notes=(
            "In brackets: 95 % interval on this group, by t. Over seeds: of training alone, on "
            "these test data. Over seeds and blocks: of blocks of the test split too (a bootstrap "
            "that draws both, the same ones for both strategies). Free outputs outside: the "
            "violation rate of a network trained without a bound.",
        ),
    )


def _of_group(found: Effect) -> Estimate:
    return percent_change(found.value, *found.interval)


def every_strategy(study: Study) -> Table:
    """Each against the same, descriptive."""
    names = [name for name in study.strategies if not is_coupled(name)]
    trained = [name for name in names if name not in BASELINES]

    def pooled(backbone: str) -> Entries:
        found = study.relative[backbone]
        shown = {name: planned.pooled(found[name].values()) for name in names if name in found}
        return {name: of_pooled(one) for name, one in shown.items()} | {AGAINST: 0.0}

    def median(backbone: str) -> Entries:
        found = study.relative[backbone]
        return {
            name: percent_change(*pooling.median([one.median for one in found[name].values()]))
            for name in names
            if name in found
        }

    def started(backbone: str) -> Entries:
        found = study.relative[backbone]
        return {
            name: share_of(planned.started(found[name].values())) for name in names if name in found
        }

    def ranks(backbone: str) -> Entries:
        every = {one for one in study.relative[backbone] if one not in BASELINES}
        found = planned.average_ranks(study.relative[backbone], sorted(every))
        return {name: settled(found[name]) for name in trained if name in found}

    def groups(backbone: str) -> Entries:
        found = study.relative[backbone]
        return {name: len(found[name]) for name in names if name in found}

    measures = {
        CHANGE: pooled,
        MIDDLE: median,
        STARTED: started,
        Column("rank", digits=1): ranks,
        NEVER: lambda of: {name: settled(study.never_start(of, name)) for name in trained},
        GROUPS: groups,
    }
    return by_strategy(
        "every_strategy",
        "comparisons",
        f"Every strategy against {AGAINST} (descriptive)",
        [name for name in names if any(name in of for of in study.relative.values())],
        {
            Column("guarantee", "bound holds"): {name: holds(name) for name in names},
            **by_backbone(study.relative, measures),
        },
        notes=(
            f"{UNIT} {TWO_SOURCES}",
            ROBUST,
            STARTS,
            "Rank: by that error within each group, among trained strategies; averaged.",
        ),
    )


def never_start(study: Study) -> Table:
    """Who, where, and with which seeds."""
    rows: list[tuple[Entry, ...]] = []
    for (strategy, dataset, backbone), found in sorted(study.runs.items()):
        lost = sorted(seed for seed, run in found.items() if not run.starts)
        if lost and dataset in study.groups and study.choice.shows(strategy):
            seeds = ", ".join(map(str, lost))
            rows.append((strategy, backbone, dataset, len(lost), len(found), seeds))
    return Table(
        "never_start",
        "comparisons-each",
        "Runs that never start",
        (
            STRATEGY,
            BACKBONE,
            Column("dataset"),
            Column("runs", "that never start"),
            Column("of", "of so many"),
            Column("seeds", "their seeds"),
        ),
        rows,
        keys=3,
        notes=("No output has a gradient on the test split: the network stays as it began.",),
    )


def power(study: Study) -> Table:
    """What so many groups, as far apart as these, can show."""
    tests = len(study.comparisons)

    def row(found: Comparison) -> tuple[Entry, ...]:
        spread, groups = (found.pooled.between, found.within), found.pooled.groups
        return (
            found.strategy,
            found.backbone,
            *map(settled, spread),
            groups,
            share_of(pooling.detectable(*spread, groups, tests)),
            share_of(pooling.detectable(*spread, BEFOREHAND, tests)),
            share_of(pooling.least_margin(*spread, BEFOREHAND, tests)),
        )

    return Table(
        "power",
        "comparisons-each",
        "What these spreads let groups show",
        (
            STRATEGY,
            BACKBONE,
            BETWEEN,
            Column("within", "error within a group"),
            GROUPS,
            Column("detectable", "least error shown", percent=True, signed=True),
            Column("detectable_beforehand", f"by {BEFOREHAND} groups", percent=True, signed=True),
            Column("margin_beforehand", f"least margin, {BEFOREHAND} groups", percent=True),
        ),
        [row(found) for found in _shown(study) if found.pooled.error > 0],
        keys=2,
        notes=(
            "Spread and error: standard deviations of the logarithm of the ratio, of groups' true "
            "effects and of what seeds and test data add in one.",
            "Least error shown: the true difference that is found in 80 % of studies with as many "
            f"groups, at Holm's strictest step of {tests}. Least margin: within which no "
            f"difference is shown to be none, as often; the study's is "
            f"{100 * math.expm1(MARGIN):.3g} %.",
        ),
    )
