"""What to take for which need, from a study's tables, as far as numbers carry it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.evidence import Evidence
from experiments.findings import (
    IGNORED,
    Case,
    code,
    code_alone,
    code_reliance,
    hard,
    link,
    listed,
    names_of,
    over_backbones,
)
from experiments.statistics import Estimate, spread
from experiments.strategies import COUPLED
from experiments.study import Study, guarantee

PENALTIES = ("hinge", "squared_hinge", "log_barrier", "augmented_lagrangian")
LEARNING = 0.01  # share of blocked outputs below which all are said to keep learning
FEWEST_SEEDS = 6  # with which two strategies are told apart by an interval
MOST_ABOVE = 3  # that are named
Gain = Callable[[str, str], Estimate]  # of a backbone and a strategy: how far above the pick it is


@dataclass(frozen=True)
class Recommendation:
    """What to take for a need."""

    need: str
    take: str
    reason: str  # with the numbers that carry it


def recommend(study: Study, evidence: Evidence) -> list[Recommendation]:
    """By the mean over backbones; who is above the pick on one of them is named with it."""
    case = Case(study, evidence)
    unbroken = case.unbroken
    learning = [n for n in unbroken if case.most(n, "blocked_fraction") < LEARNING]
    soft = [name for name in case.ranked if name in PENALTIES]
    useful = [n for n in soft if all(r.skill[n].value > 0 for r in study.rankings.values())]
    known = [name for name in useful if not math.isnan(case.most(name, "violation_rate"))]
    fewest = sorted(known, key=lambda name: (case.most(name, "violation_rate"), -case.skill(name)))
    after = [name for name in unbroken if name == "clip_at_evaluation"]
    picked = "learning rate and best epoch were" if study.tuned else "best epoch was"
    found = [
        _by_skill(case, "The bound must never break", unbroken, "violation_rate"),
        _by_skill(case, "… and every output must keep learning", learning, "blocked"),
        _by_skill(case, "Accuracy first, bound or no bound", case.ranked, "violation_rate"),
        _by_skill(
            case, "A penalty alone, with the fewest violations", fewest[:1], "violation_rate"
        ),
        _by_skill(
            case,
            "The network is trained already",
            after,
            "violation_rate",
            f"; of a network whose {picked} chosen with the clip in place",
        ),
        _for_code(case),
        *(_for_wrong_bound(case, dataset) for dataset in evidence.wrong_bound),
        *(_for_sum(case, dataset) for dataset in evidence.sums),
    ]
    return [recommendation for recommendation in found if recommendation]


def _by_skill(
    case: Case, need: str, names: Sequence[str], share: str, note: str = ""
) -> Recommendation | None:
    """The most skilled of some strategies, with its share of the outputs that are so."""
    if not names:
        return None
    rankings = case.study.rankings
    best = max(names, key=case.skill)
    beside = _beside(
        [name for name in names if name != best],
        list(rankings),
        lambda of, name: rankings[of].difference(name, best),
        lambda of, name: link(case.evidence.headline, name, f"skill_{of}"),
        min(ranking.seeds for ranking in rankings.values()),
    )
    highest = f", the highest{_averaged(rankings)}" if len(names) > 1 else ""
    kind = share.removesuffix("_rate")
    numbers = f"Skill {case.standing(best, 'skill')}{highest}; {kind} {case.standing(best, share)}"
    where = case.losing(best)
    lost = f"; worse than an untrained baseline on {where}" * bool(where)
    lost += _hanging_on(case, names, best)
    take = code(best) if case.skill(best) > 0 else "none has skill"
    return Recommendation(need, take, f"{numbers} ({case.where}){lost}{beside}{note}.")


def _hanging_on(case: Case, names: Sequence[str], best: str) -> str:
    """The groups without which another than the best would be it."""
    rankings = list(case.study.rankings.values())
    groups = rankings[0].scores.groups
    if len(groups) < 3 or any(ranking.scores.groups != groups for ranking in rankings):
        return ""
    said = []
    for place, group in enumerate(groups):

        def without(name: str, place: int = place) -> float:
            means = [ranking.scores.of(name).mean(axis=0) for ranking in rankings]
            return float(np.mean([np.delete(mean, place) for mean in means]))

        other = max(names, key=without)
        said += [f"; without the group {code(group)} it is {code(other)}"] * (other != best)
    return "".join(said)


def _averaged(backbones: Iterable[str]) -> str:
    return " averaged over backbones" if len(list(backbones)) > 1 else ""


def _beside(
    others: Sequence[str],
    backbones: Sequence[str],
    gain: Gain,
    cited: Callable[[str, str], str],
    seeds: int,
) -> str:
    """Who is better than the pick on one backbone, by an interval, and whom none tells from it;
    nothing of few seeds."""
    if seeds < FEWEST_SEEDS:
        return ""
    gains = {of: {name: gain(of, name) for name in others} for of in backbones}
    said = []
    for of, found in gains.items():
        above = sorted((n for n in others if found[n].low > 0), key=lambda n, f=found: -f[n].value)
        more = [f"{len(above) - MOST_ABOVE} more"] * (len(above) > MOST_ABOVE)
        named = [f"{code(name)} with {cited(of, name)}" for name in above[:MOST_ABOVE]]
        are = "is" if len(above) == 1 else "are"
        said += [f"; better on {of} {are} {' and '.join(named + more)}"] if named else []
    level = [
        name
        for name in others
        if all(found[name].low <= 0 <= found[name].high for found in gains.values())
    ]
    if level:
        said.append(f"; no interval tells {listed(level)} from it")
    return "".join(said)


def _on_dataset(
    case: Case, dataset: str, names: Sequence[str], best: str, metric: str, sign: int
) -> str:
    """The same on one dataset, by the differences of runs with the same seed."""
    study = case.study

    def gain(of: str, name: str) -> Estimate:
        one, other = study.paired(dataset, of, (name, best), metric)
        found = spread((sign * (one - other)).tolist())
        return Estimate(found.mean, *found.interval)

    def cited(of: str, name: str) -> str:
        tables = case.evidence.wrong_bound | case.evidence.sums
        return link(tables[dataset], name, f"{metric}_{of}")

    counts = [study.paired(dataset, of, (best,), metric).size for of in study.backbones]
    others = [name for name in names if name != best]
    return _beside(others, study.backbones, gain, cited, min(counts))


def _for_code(case: Case) -> Recommendation | None:
    names = [n for n in hard(case.study.strategies) if code_reliance(case, n, min) is not None]
    if not names:
        return None
    place = code_alone(case)

    def carried(name: str) -> float:
        """The part of r2 that hangs on the code, where it is least."""
        found = [
            min(case.study.mean_of_all(of, place, name, key) for key in ("r2", "code_reliance"))
            for of in case.evidence.collapse
        ]
        return min(found)

    best = max(names, key=carried)
    numbers = " and ".join(
        f"{link(table, best, f'code_reliance_{place}')} with an r2 of "
        f"{link(table, best, f'r2_{place}')} on {code(dataset)}"
        for dataset, table in case.evidence.collapse.items()
    )
    useful = carried(best) >= IGNORED
    return Recommendation(
        "The target may be the bound, and the code must carry it",
        code(best) if useful else "none that has a guarantee",
        f"More of the r2 hangs on the code of {code(best)} than of any other with a guarantee: a "
        f"code reliance of {numbers} ({place}).",
    )


def _for_wrong_bound(case: Case, dataset: str) -> Recommendation | None:
    trained = [name for name in case.study.strategies if guarantee(name) != "untrained"]
    errors = {name: over_backbones(case.study, dataset, name, "mse") for name in trained}
    names = [name for name in trained if not math.isnan(errors[name])]
    if not names:
        return None
    best, table = min(names, key=errors.__getitem__), case.evidence.wrong_bound[dataset]
    backbones = case.study.backbones
    numbers = " and ".join(link(table, best, f"mse_{of}") for of in backbones)
    reason = (
        f"The least mse{_averaged(backbones)} on {code(dataset)}: {numbers} "
        f"({names_of(backbones)}){_on_dataset(case, dataset, names, best, 'mse', -1)}."
    )
    return Recommendation("The bound may be wrong now and then", code(best), reason)


def _for_sum(case: Case, dataset: str) -> Recommendation | None:
    """Of those that promise a sum that `unconstrained` breaks, the one with the best r2."""
    study, table = case.study, case.evidence.sums[dataset]
    fixed = "sum_lower" in study.manifest.get("datasets", {}).get(dataset, {}).get("bounds", ())

    def outside(name: str) -> float:
        return over_backbones(study, dataset, name, "sum_violation_rate_1e-4")

    names = [n for n in hard(study.strategies) if n in COUPLED and outside(n) == 0]
    if not names or not outside("unconstrained") > 0:
        return None
    best = max(names, key=lambda name: over_backbones(study, dataset, name, "r2"))

    def linked(name: str, column: str) -> str:
        return " and ".join(link(table, name, f"{column}_{of}") for of in study.backbones)

    return Recommendation(
        f"The features' sum must {'equal' if fixed else 'not exceed'} a total as well",
        code(best),
        f"The best r2{_averaged(study.backbones)} on {code(dataset)} of those that promise it: "
        f"{linked(best, 'r2')}{_on_dataset(case, dataset, names, best, 'r2', 1)}; "
        f"`unconstrained` has {linked('unconstrained', 'r2')} and breaks it by more than 0.0001 at "
        f"{linked('unconstrained', 'sum_violation')} of the steps ({names_of(study.backbones)}).",
    )
