"""When training with the bound helps, and what a penalty's weight costs, as tables."""

import math
from collections.abc import Iterator

from experiments.analysis import frontier, judged
from experiments.analysis import rule as rules
from experiments.analysis.columns import (
    BACKBONE,
    CHANGE,
    GROUPS,
    OVER,
    SEEDS,
    STARTED,
    of_pooled,
    percent_change,
    settled,
    share_of,
)
from experiments.analysis.effects import AGAINST
from experiments.analysis.study import Study
from experiments.analysis.tables import STRATEGY, Column, Entry, Table
from experiments.analysis.turned import turned
from experiments.training.baselines import BASELINES

YES_NO = {True: "yes", False: "no"}


def every(study: Study) -> Iterator[Table]:
    yield dials(study)
    yield soft_frontier(study)
    yield rule(study)
    yield rule_agreement(study)


def dials(study: Study) -> Table:
    """What turning one thing does."""
    trained = [name for name in study.strategies if name not in BASELINES]
    return Table(
        "dials",
        "turned",
        "One thing turned at a time, on made data",
        (
            Column("dial"),
            Column("value", digits=2),
            BACKBONE,
            STRATEGY,
            CHANGE,
            OVER,
            STARTED,
            SEEDS,
        ),
        [
            (
                one.dial,
                one.value,
                one.backbone,
                one.strategy,
                percent_change(one.effect.value, *one.effect.interval),
                one.effect.over,
                share_of(one.effect.started),
                one.effect.seeds,
            )
            for one in turned(study.runs, trained, study.backbones)
        ],
        keys=4,
        notes=(
            f"Error: by how much the mse differs from that of `{AGAINST}` at the same value, by "
            "the mean logarithm of the ratio over seeds, with its 95 % interval, by t. What a dial "
            "turns is in experiments/data/dials.py.",
        ),
    )


def soft_frontier(study: Study) -> Table:
    """Every point that tuning tried of soft strategies."""
    return Table(
        "soft_frontier",
        "comparisons-each",
        "Soft strategies as tuning tried them: error against violation, on validation",
        (
            STRATEGY,
            BACKBONE,
            Column("learning_rate"),
            Column("weight"),
            Column("others", "other hyperparameters"),
            Column("outside", "outside by 0.0001", percent=True),
            CHANGE,
            GROUPS,
        ),
        [
            (
                one.strategy,
                one.backbone,
                one.rate,
                one.weight,
                one.others.strip("{}").replace('"', ""),
                settled(one.outside),
                share_of(one.change),
                one.groups,
            )
            for one in frontier.points(study.records, study.groups)
            if study.choice.shows(one.strategy)
        ],
        keys=5,
        notes=(
            f"Error: relative to `{AGAINST}` at the same learning rate, which leaves nothing "
            "outside; means over groups, each counting alike.",
        ),
    )


def rule(study: Study) -> Table:
    """What the rule says of each dataset, and what happened."""
    kinds = [*judged.PREDICTED]
    return Table(
        "rule",
        "parametrisation-each",
        "The rule, dataset by dataset",
        (
            Column("dataset"),
            BACKBONE,
            Column("is_new", "new"),
            *(Column(f"fit_{kind}", f"misfit of a {kind}") for kind in rules.KINDS),
            Column("choice", "the rule takes a"),
            *(
                Column(f"change_{kind}", f"error of {name}", percent=True, signed=True)
                for kind, name in judged.PREDICTED.items()
            ),
            *(Column(f"told_{kind}", f"sign told, {kind}") for kind in kinds),
        ),
        [
            (
                one.dataset,
                one.backbone,
                YES_NO[one.is_new],
                *(settled(one.fits.get(kind, math.nan)) for kind in rules.KINDS),
                one.choice or "",
                *(
                    percent_change(found.value, *found.interval) if found else None
                    for found in map(one.effects.get, kinds)
                ),
                *(YES_NO.get(one.agrees(kind), "") for kind in kinds),
            )
            for one in _judged(study)
        ],
        keys=2,
        notes=(
            "Misfit: mean squared error, in scaled units, of the constant share of the bound, "
            "level or distance that fits the training targets best. Error: relative to "
            f"`{AGAINST}`, with its 95 % interval on the dataset. Sign told: whether it errs less "
            "just where its kind fits better than a level.",
        ),
    )


def rule_agreement(study: Study) -> Table:
    """How often it tells the sign, and what choosing by it gains."""
    rows: list[tuple[Entry, ...]] = []
    every = _judged(study)
    for backbone in dict.fromkeys(one.backbone for one in every):
        here = [one for one in every if one.backbone == backbone]
        for name, those in {
            "new groups": [one for one in here if one.is_new],
            "groups of the first study": [one for one in here if not one.is_new],
        }.items():
            gain = judged.gain(those)
            told = (entry for kind in judged.PREDICTED for entry in judged.agreement(those, kind))
            rows.append((backbone, name, *told, of_pooled(gain) if gain else None))
    return Table(
        "rule_agreement",
        "parametrisation",
        "Does the rule of share, level and distance tell which parametrisation errs less?",
        (
            BACKBONE,
            Column("those", "datasets of"),
            *(
                column
                for kind, name in judged.PREDICTED.items()
                for column in (
                    Column(f"told_{kind}", f"{name}: sign told"),
                    Column(f"of_{kind}", "of"),
                    Column(f"rate_{kind}", "rate", percent=True),
                )
            ),
            Column("gain", "error of the rule's choice", percent=True, signed=True),
        ),
        [row for row in rows if row[3] or row[6]],
        keys=2,
        notes=(
            "The rule was found on the first study, so that the new groups alone decide. In "
            "brackets: exact 95 % binomial interval of datasets; of the error, by t, over groups.",
            f"The rule's choice: `{judged.CHOICE['share']}` where a share fits best, "
            f"`{judged.CHOICE['distance']}` where a distance does, else `{AGAINST}`, which the "
            "error is relative to.",
        ),
    )


def _judged(study: Study) -> list[judged.Judged]:
    return judged.judge(study.runs, study.groups, study.backbones)
