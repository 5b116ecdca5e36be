"""A study's tables to sentences: the answer.

A sentence cites its numbers as the tables show them, `[number](#cell)`, and is left out where the
data are silent. What is said of a constraint is said of every backbone that was run, by name.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.evidence import Evidence
from experiments.standing import is_powered, loses_to
from experiments.statistics import PLANNED, SIGNIFICANT
from experiments.study import Study, guarantee
from experiments.tables import DASH, Table

IGNORED = 0.1  # code reliance below which the code is said to be ignored


@dataclass(frozen=True)
class Case:
    """A study with its tables, as sentences cite it."""

    study: Study
    evidence: Evidence

    @property
    def ranked(self) -> list[str]:
        """Trained strategies that have a rank on every backbone."""
        rankings = self.study.rankings.values()
        found = [n for n in self.study.strategies if all(n in r.rank for r in rankings)]
        return [name for name in found if guarantee(name) != "untrained"] if rankings else []

    @property
    def unbroken(self) -> list[str]:
        """Of them, those with a guarantee that no run broke."""
        return [name for name in hard(self.ranked) if self.most(name, "violation_rate") == 0]

    def skill(self, name: str) -> float:
        """Mean over backbones."""
        found = [ranking.skill[name].value for ranking in self.study.rankings.values()]
        return sum(found) / len(found)

    def most(self, name: str, share: str) -> float:
        """Of a share, over backbones; NaN where one has none."""
        return float(np.max([r.shares[name][share] for r in self.study.rankings.values()]))

    def losing(self, name: str) -> str:
        """The backbones on which an untrained baseline has more skill."""
        rankings = self.study.rankings
        places = [of for of, ranking in rankings.items() if loses_to(ranking, name)]
        return "both backbones" if len(places) > 1 else " and ".join(places)

    @property
    def where(self) -> str:
        """The backbones that strategies are ranked on, as `each` has them."""
        return names_of(self.study.rankings)

    def each(self, text: Callable[[str], str]) -> str:
        """A text of each backbone that strategies are ranked on."""
        return " and ".join(map(text, self.study.rankings))

    def standing(self, name: str, column: str) -> str:
        """A strategy's numbers in the headline."""
        return self.each(lambda of: link(self.evidence.headline, name, f"{column}_{of}"))

    def compared(self, name: str) -> str:
        """A planned comparison's numbers; no p where one is underpowered."""

        def shown(column: str) -> str:
            return self.each(lambda of: link(self.evidence.comparisons, (name, of), column))

        if not all(map(is_powered, self.study.rankings.values())):
            return shown("difference")
        wins, p_value = shown("better"), shown("p_value")
        return f"{shown('difference')} (above it in {wins} of the groups, p {p_value})"

    def verdict(self, name: str, better: str, worse: str, same: str) -> str:
        """What a planned comparison says of a strategy against `clip`; nothing where it is
        underpowered."""
        said: dict[str, list[str]] = {}
        if not all(map(is_powered, self.study.rankings.values())):
            return ""
        for of, ranking in self.study.rankings.items():
            one = ranking.comparisons[name]
            clear = one.p_value < SIGNIFICANT
            text = (better if one.difference > 0 else worse) if clear else same
            said.setdefault(text, []).append(of)
        if len(said) == 1 and len(self.study.rankings) > 1:
            (text,) = said
            found = f"{text} on {'either backbone' if text == same else 'both backbones'}"
        else:
            found = "; ".join(f"{text} on {' and '.join(where)}" for text, where in said.items())
        return found[0].upper() + found[1:]


def answer(study: Study, evidence: Evidence) -> list[str]:
    """Which strategy should I use, and what does it cost me? Five sentences at most."""
    case = Case(study, evidence)
    made = (_most_accurate, _cost_of_holding, _dead_gradients, _collapse, _wrong_bound)
    return [text for make in made if (text := make(case))]


def _most_accurate(case: Case) -> str | None:
    names = case.unbroken
    if not names:
        return None
    rankings, evidence = case.study.rankings, case.evidence

    best = {
        of: max(names, key=lambda name, of=of: rankings[of].skill[name].value) for of in rankings
    }

    alone = " alone" * (len(rankings) == 1)

    def skills(name: str, backbones: Sequence[str]) -> str:
        text = "skill " + " and ".join(
            link(evidence.headline, name, f"skill_{of}") for of in backbones
        )
        gains = [
            link(evidence.against_clip, name, f"gain_{of}") for of in backbones if name != "clip"
        ]
        against = f"; {' and '.join(gains)} against `clip`" if gains else ""
        return f"{code(name)} on {' and '.join(backbones)}{alone} ({text}{against})"

    leaders = {name: [of for of in best if best[of] == name] for name in best.values()}
    losing: dict[str, list[str]] = {}
    for name in names:
        if where := case.losing(name):
            losing.setdefault(where, []).append(name)
    lost = [
        f"; worse than an untrained baseline on {where}: {listed(those)}"
        for where, those in losing.items()
    ]
    return (
        f"Of the {len(names)} strategies with a guarantee that no run broke, the most accurate is "
        f"{' and '.join(skills(name, of) for name, of in leaders.items())}{''.join(lost)}."
    )


def _cost_of_holding(case: Case) -> str | None:
    kinds = {
        "unconstrained": "",
        "clip_at_evaluation": ", trained free and clipped afterwards,",
        "squared_hinge": "",
    }
    shown = [name for name in kinds if name in _planned(case)]
    if "unconstrained" not in shown:
        return None
    scores = [
        f"{code(name)}{kinds[name]} scores {case.compared(name)} and leaves "
        f"{case.standing(name, 'violation_rate')} of its outputs outside"
        for name in shown
    ]
    verdict = case.verdict(
        "unconstrained",
        better="training through `clip` costs accuracy",
        worse="training through `clip` gains accuracy",
        same="beyond these groups, training through `clip` is not shown to cost or gain accuracy",
    )
    start = f"{verdict}: against its skill" if verdict else "Against the skill of `clip`"
    return f"{start}, {'; '.join(scores)} ({case.where})."


def _dead_gradients(case: Case) -> str | None:
    name = "straight_through_clip"
    if name not in _planned(case):
        return None

    def with_skill(name: str) -> str:
        return case.each(lambda of: link(case.evidence.against_clip, name, f"with_skill_{of}"))

    verdict = case.verdict(
        name,
        better="dead gradients cost accuracy",
        worse="a gradient everywhere costs accuracy",
        same="beyond these groups, dead gradients are not shown to cost accuracy",
    )
    return (
        f"{verdict}{': ' * bool(verdict)}`clip` blocks {case.standing('clip', 'blocked')} of its "
        f"outputs, which are wrong and would get no gradient, and "
        f"{case.standing('clip', 'failing')} of its runs have no skill; {code(name)}, the same "
        f"function with a gradient everywhere, scores {case.compared(name)} against its skill. "
        f"Counting only the runs with skill, it has {with_skill(name)} and `clip` "
        f"{with_skill('clip')} ({case.where})."
    )


def _collapse(case: Case) -> str | None:
    tables, place = case.evidence.collapse, code_alone(case)
    names = [n for n in hard(case.study.strategies) if code_reliance(case, n, max) is not None]
    if "clip" not in names:
        return None
    ignoring = [name for name in names if code_reliance(case, name, max) < IGNORED]

    def collapse(dataset: str) -> str:
        table, reliance = tables[dataset], f"code_reliance_{place}"
        return (
            f"{link(table, 'clip', reliance)} for `clip` (r2 {link(table, 'clip', f'r2_{place}')}) "
            f"and {link(table, 'unconstrained', reliance)} for `unconstrained` on {code(dataset)}"
        )

    return (
        f"Where the target is the bound, {len(ignoring)} of the {len(names)} strategies with a "
        f"guarantee ignore the code on {place} (a code reliance below {IGNORED:g}): it is "
        f"{'; '.join(map(collapse, tables))}."
    )


def _wrong_bound(case: Case) -> str | None:
    told = []
    for dataset, table in case.evidence.wrong_bound.items():
        names = [
            name
            for name in case.study.strategies
            if not math.isnan(over_backbones(case.study, dataset, name, "mse"))
        ]
        if not {"clip", "unconstrained"} <= set(names):
            continue
        share = link(case.evidence.datasets, dataset, "infeasible")
        of_targets = f" for {share} of all targets" * (share != DASH)
        costs = [
            f"{code(name)} has "
            + " and ".join(link(table, name, f"ratio_{of}") for of in case.study.backbones)
            for name in ("clip_at_evaluation", "clip")
            if name in names
        ]
        told.append(
            f"On {code(dataset)}, whose bound is wrong{of_targets}, {', and '.join(costs)} times "
            f"the error of `unconstrained` on test ({names_of(case.study.backbones)})."
        )
    return " ".join(told) or None


def hard(names: Iterable[str]) -> list[str]:
    """Those that promise the dataset's bounds whatever the network's output."""
    return [name for name in names if guarantee(name) == "always"]


def link(table: Table, row: str | Sequence[str], column: str) -> str:
    """A number as its table shows it, with a link to it; a dash where there is none."""
    found = table.find(row, column)
    return f"[{found.text}](#{found.anchor})" if found else DASH


def code(name: str) -> str:
    return "`" + name.replace("`", "'") + "`"


def names_of(backbones: Iterable[str]) -> str:
    """Backbones in a row; of one, that it is alone."""
    names = list(backbones)
    return f"{names[0]} alone" if len(names) == 1 else " and ".join(names)


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a row, and how many more there are."""
    shown = [code(name) for name in names[:most]]
    more = [f"{len(names) - most} more"] if len(names) > most else []
    *first, last = shown + more or [""]
    return f"{', '.join(first)} and {last}" if first else last


def _planned(case: Case) -> list[str]:
    """The planned comparisons that there are on every backbone."""
    found = [ranking.comparisons for ranking in case.study.rankings.values()]
    return [name for name in PLANNED if found and all(name in one for one in found)]


def code_alone(case: Case) -> str:
    """The backbone whose decoder sees the code alone, if it was run."""
    return "bottleneck" if "bottleneck" in case.study.backbones else ""


def code_reliance(case: Case, name: str, over: Callable[[list[float]], float]) -> float | None:
    """The least or highest of a strategy's mean code reliances on autoencoder datasets; None if
    it is not known on each."""
    place = code_alone(case)
    found = [
        case.study.mean_of_all(of, place, name, "code_reliance") for of in case.evidence.collapse
    ]
    return None if not found or any(map(math.isnan, found)) else over(found)


def over_backbones(study: Study, dataset: str, name: str, metric: str) -> float:
    """A strategy's mean over backbones; NaN if not known on each, of every seed."""
    found = [study.mean_of_all(dataset, of, name, metric) for of in study.backbones]
    return sum(found) / len(found) if found else math.nan
