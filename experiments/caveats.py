"""What a reader must know before believing a study's numbers."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from experiments.baselines import BASELINES
from experiments.catalogue import DATASETS
from experiments.choices import in_order
from experiments.findings import FEWEST_SEEDS, PENALTIES, code, hard, listed
from experiments.statistics import FLOOR, PLANNED, REFERENCE
from experiments.strategies import TRAINED
from experiments.study import Study, finals
from experiments.training import BACKBONES


def caveats(study: Study, notes: Iterable[str]) -> list[str]:
    """Those that apply, the gravest first; names between backticks."""
    return [
        *(f"Mind: {note}" for note in notes),
        *_design(study),
        *_power(study),
        *_absent(study),
        *_always(study),
    ]


def _design(study: Study) -> list[str]:
    """What the plan did not do."""
    found = []
    if not any(record["config"]["phase"] == "tune" for record in study.records):
        found.append(
            "Nothing was tuned: every strategy ran with its default hyperparameters, at the "
            "default learning rate. That is how things stand there, and no ranking."
        )
    if len(study.backbones) == 1:
        found.append(
            f"One backbone alone was run, {study.backbones[0]}: nothing here tells what is the "
            "constraint's doing from what is the network's."
        )
    return found


def _power(study: Study) -> list[str]:
    """What the numbers are too few for."""
    found = []
    for backbone, ranking in study.rankings.items():
        groups = len(ranking.scores.groups)
        if any(one.underpowered for one in ranking.comparisons.values()):
            found.append(
                f"Underpowered: with {groups} group{'s' * (groups > 1)} of datasets on {backbone}, "
                f"no outcome of {len(ranking.comparisons)} comparisons could be significant. No "
                "conclusion is drawn from them."
            )
        elif ranking.comparisons:
            found.append(
                f"With {groups} groups on {backbone}, a comparison is significant only if nearly "
                "every group agrees: that one is not significant does not show that nothing is "
                "there."
            )
        if ranking.seeds < FEWEST_SEEDS:
            found.append(
                f"With {ranking.seeds} seed{'s' * (ranking.seeds > 1)} on {backbone}, intervals "
                "over seeds are too narrow, and no two strategies are told apart by them."
            )
    return found


def _absent(study: Study) -> list[str]:
    """What was left out, failed, or is still to come."""
    found = [f"Not ranked: {reason}." for reason in study.left_out]
    failed = sum(record["status"] == "failed" for record in finals(study))
    if failed:
        found.append(
            f"{failed} final cells failed, each with its reason in the table of failed cells; each "
            f"counts as a skill of {FLOOR:g}."
        )
    missing = _missing(study)
    if missing:
        found.append(
            f"Incomplete: {sum(missing.values())} planned final cells have no record: "
            + ", ".join(f"{count} of {code(name)}" for name, count in missing.items())
            + "."
        )
    for kind, known, run in (
        ("strategies", (*TRAINED, *BASELINES), study.strategies),
        ("datasets", DATASETS, study.every_dataset),
        ("backbones", BACKBONES, study.backbones),
    ):
        absent = [name for name in known if name not in run]
        if absent and run:
            found.append(
                f"Left out of this sweep, of the {kind} that there are: {listed(absent, 30)}."
            )
    return found


def _missing(study: Study) -> dict[str, int]:
    """Planned final cells without a record, by dataset."""
    plan = study.manifest.get("plan", {})
    trained = [name for name in plan.get("strategies", ()) if name not in BASELINES]
    runs = len(trained) * len(plan.get("backbones", ())) * plan.get("seeds", 0)
    planned = runs + len(plan.get("strategies", ())) - len(trained)
    there = Counter(record["config"]["dataset"]["name"] for record in finals(study))
    names = in_order({Path(name).name for name in plan.get("datasets", ())}, DATASETS)
    return {name: planned - there[name] for name in names if there[name] < planned}


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
    found = []
    if broken:
        found.append(
            f"{listed(broken, 30)} left a bound in spite of the guarantee, which is of the sides "
            "that a strategy is given: those with one side leave the lower bound of a dataset that "
            "has two."
        )
    if any(name in study.strategies for name in PENALTIES):
        found.append(
            "Soft strategies are tuned by the error on validation, as all are. That favours small "
            "penalties: with larger ones they would break the bound less, and err more."
        )
    return [
        *found,
        "Every interval is over seeds alone: it leaves out the sampling of the data, of which "
        "there is one split, and which datasets were chosen.",
        "The most accurate of many strategies is flattered by having been picked. The comparisons "
        f"fixed beforehand ({listed(list(PLANNED), 6)}, each against `clip`) are not.",
        f"Skill is relative to `{REFERENCE}`, which knows the bound, and is floored at {FLOOR:g}: "
        "how badly a failure fails does not count.",
        "All strategies had the same number of updates of one small recurrent network. Other "
        "architectures, budgets and data may order them otherwise.",
    ]
