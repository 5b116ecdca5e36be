"""What a reader must know before believing a study's numbers."""

from collections import Counter
from collections.abc import Iterable

from experiments.baselines import BASELINES
from experiments.catalogue import DATASETS, DEALT_AGAIN, SAME_SOURCE, SYNTHETIC
from experiments.choices import in_order
from experiments.findings import hard, listed
from experiments.needs import FEWEST_SEEDS, PENALTIES
from experiments.standing import is_powered
from experiments.statistics import FLOOR, PLANNED, REFERENCE, SIGNIFICANT
from experiments.strategies import COUPLED, TRAINED
from experiments.study import Study, finals
from experiments.training import BACKBONES
from experiments.tuning import LEARNING_RATES, place_of, tuned_of

ROUNDING = 1e-6  # of a share of many outputs, which is a mean in float32


def caveats(study: Study, notes: Iterable[str]) -> list[str]:
    """Those that apply, the gravest first; names between backticks."""
    return [
        *grave(study),
        *(f"Mind: {note}" for note in notes),
        *power(study),
        *_absent(study),
        *_always(study),
    ]


def grave(study: Study) -> list[str]:
    """What no answer should be read without: what the plan did not do, or has not done yet."""
    found = []
    if finals(study) and not study.tuned:
        found.append(
            "Nothing was tuned: every strategy ran with its default hyperparameters, at the "
            "default learning rate. That is how things stand there, and no ranking."
        )
    if len(study.backbones) == 1:
        found.append(
            f"One backbone alone was run, {study.backbones[0]}: nothing here tells what is the "
            "constraint's doing from what is the network's."
        )
    missing = study.missing
    if missing:
        found.append(
            f"Incomplete: {sum(missing.values())} planned final cells have no record, of "
            f"{listed(list(missing), 30)}."
        )
    return found


def power(study: Study) -> list[str]:
    """What the numbers are too few for."""
    found: dict[str, list[str]] = {}
    for backbone, ranking in study.rankings.items():
        groups, planned = len(ranking.scores.groups), ranking.comparisons
        there = f"{groups} group{'s' * (groups > 1)} of datasets"
        said = []
        if planned and not is_powered(ranking):
            said.append(
                f"Underpowered: over {there}, no outcome of {len(planned)} comparisons could be "
                "significant, and no conclusion is drawn from them"
                + "; ranks and recommendations are of that group alone"
                * (groups == 1)
            )
        elif planned:
            said.append(
                f"Over {there}, even the clearest comparison is significant only if "
                f"{_agreement(groups, len(planned))}: no significance does not show that there is "
                "no difference"
            )
        if ranking.seeds < FEWEST_SEEDS:
            said.append(
                f"With {ranking.seeds} seeds, intervals over seeds are too narrow, and no two "
                "strategies are told apart by them"
                if ranking.seeds > 1
                else "One seed has no interval, and no two strategies are told apart by it"
            )
        for text in said:
            found.setdefault(text, []).append(backbone)
    return [f"{text} ({' and '.join(where)})." for text, where in found.items()]


def _agreement(groups: int, comparisons: int) -> str:
    """How many groups must agree for the least p of Wilcoxon's test to be significant by Holm: of
    2^groups patterns of signs, 2 are as extreme as the least dissenting alone, 3 as the second."""
    least, second = (2.0 ** (1 - groups) * count * comparisons for count in (2, 3))
    if least > SIGNIFICANT:
        return "every group agrees"
    if second > SIGNIFICANT:
        return "every group agrees, or all but the one that differs least"
    return "nearly every group agrees"


def _absent(study: Study) -> list[str]:
    """What is not ranked, failed, or was not planned."""
    found = [f"Not ranked: {reason}." for reason in study.left_out]
    if coupled := [name for name in study.strategies if name in COUPLED]:
        found.append(
            f"Not ranked, for they are for a known sum of the features: {listed(coupled, 30)}."
        )
    failed = sum(record["status"] == "failed" for record in finals(study))
    if failed:
        cells = "One final cell" if failed == 1 else f"{failed} final cells"
        found.append(f"{cells} failed; each counts as a skill of {FLOOR:g}. The reasons are below.")
    plan = study.manifest.get("plan", {})
    for kind, known, run in (
        ("strategies", (*TRAINED, *BASELINES), study.strategies),
        ("datasets", DATASETS, study.every_dataset),
        ("backbones", BACKBONES, study.backbones),
    ):
        absent = [name for name in known if name not in (*run, *plan.get(kind, ()))]
        if absent:
            found.append(f"Not in this sweep, of the {kind} that there are: {listed(absent, 30)}.")
    return found


def _always(study: Study) -> list[str]:
    """What holds of every sweep."""
    broken = [
        name
        for name in hard(study.strategies)
        if any(
            (spread := metrics.get("violation_rate")) and spread.mean > 0
            for (_, _, strategy), metrics in study.spreads.items()
            if strategy == name
        )
    ]
    compared = [n for n in PLANNED if any(n in r.comparisons for r in study.rankings.values())]
    found = []
    if broken:
        found.append(
            f"{listed(broken, 30)} left a bound in spite of the guarantee, which is of the sides "
            "that a strategy is given: those with one side leave the lower bound of a dataset that "
            "has two."
        )
    if study.tuned and any(name in study.strategies for name in PENALTIES):
        found.append(
            "Soft strategies are tuned by the error on validation, as all are. That favours small "
            "penalties: with larger ones they would break the bound less, and err more."
        )
    return [
        *found,
        *_never_started(study),
        *_tuned(study),
        *_alike(study),
        "A seed gives the same initial weights to every strategy, on every dataset of the same "
        "shapes: runs that fail, fail together"
        + ", and groups are less independent than the tests take them to be" * bool(compared)
        + ".",
        "Every interval is over seeds alone: it leaves out the sampling of the data, of which "
        "there is one split, and which datasets were chosen.",
        "The most accurate of many strategies is flattered by having been picked."
        + f" The comparisons fixed beforehand ({listed(compared, 6)}, each against `clip`) are not."
        * bool(compared),
        f"Skill is relative to `{REFERENCE}`, which knows the bound, and is floored at {FLOOR:g}: "
        "how badly a failure fails does not count.",
        "All strategies had the same number of updates of one small recurrent network. Other "
        "architectures, budgets and data may order them otherwise.",
    ]


def _never_started(study: Study) -> list[str]:
    """Runs without any gradient, but for autoencoders, where all is well at the bound."""
    dead = Counter(
        record["config"]["strategy"]["name"]
        for record in finals(study)
        if (record["metrics"].get("gradient_dead_fraction") or 0.0) > 1 - ROUNDING
        and study.roles[record["config"]["dataset"]["name"]] != "autoencoder"
    )
    if not dead:
        return []
    runs = ", ".join(f"{count} of {listed([name])}" for name, count in dead.most_common())
    return [
        f"Runs that end with no gradient at any output: {runs}. Every network begins with outputs "
        "near 0; where that is outside the bounds, a strategy without a gradient there never "
        "starts. A first bias inside the bounds spares it (`docs/choosing.md`)."
    ]


def _tuned(study: Study) -> list[str]:
    """How far the tuning went."""
    tuning = [r["config"] for r in study.records if r["config"]["phase"] == "tune"]
    seeds = len({config["seed"] for config in tuning})
    places = set(map(place_of, tuning))
    chosen = {
        place_of(config): tuned_of(config)["learning_rate"]
        for config in (record["config"] for record in finals(study))
        if config["backbone"] != "none" and place_of(config) in places
    }
    if not chosen:
        return []
    ends = [min(LEARNING_RATES), max(LEARNING_RATES)]
    edge = sum(rate in ends for rate in chosen.values())
    untuned = {
        place_of(config)[1]
        for config in (record["config"] for record in finals(study))
        if config["backbone"] != "none" and place_of(config) not in places
    }
    missed = f"Not all is tuned on {listed(in_order(untuned, DATASETS))}: the defaults ran there."
    return [missed] * bool(untuned) + [
        f"Tuning moved one value at a time from the default, with {seeds} "
        f"seed{'s' * (seeds != 1)}: a better pair of values, or a choice by luck, is not found "
        f"out. {edge} of {len(chosen)} choices are the least or the largest learning rate tried."
    ]


def _alike(study: Study) -> list[str]:
    """Groups and datasets that are not what a test over groups takes them for."""
    groups = sorted({name for r in study.rankings.values() for name in r.scores.groups})
    found = []
    for source, alike in SAME_SOURCE.items():
        if len(there := [name for name in groups if name in alike]) > 1:
            found.append(
                f"The groups {listed(there)} are of {source}: they are less independent than the "
                "tests take groups to be."
            )
    if made := [name for name in groups if name in SYNTHETIC]:
        found.append(f"Of the {len(groups)} groups, {listed(made)} is made, not measured.")
    if again := [name for name in study.datasets("study") if name in DEALT_AGAIN]:
        found.append(
            f"The splits of {listed(again)} were changed after a first run had been read: drawn at "
            "random, they were of different seasons. What lies at an edge, as a p near "
            f"{SIGNIFICANT:g} does, may hang on that."
        )
    return found
