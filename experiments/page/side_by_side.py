"""What the terminal shows of two sweeps."""

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from experiments.analysis.statistics import REFERENCE
from experiments.analysis.tables import Column, text_of
from experiments.analysis.two_sweeps import MSE, SKILL, Compared, Difference
from experiments.cells import UNTRAINED, Place
from experiments.console import printable, say
from experiments.data.catalogue import DATASETS
from experiments.figures.style import short
from experiments.training.backbones import BACKBONES
from experiments.training.strategies import EVERY_STRATEGY
from experiments.usage import in_order

CHANGES = {
    SKILL: Column("B − A", signed=True),
    MSE: Column("change", percent=True, signed=True),
}
MOST = 20  # places that are named one by one
LONGEST = 200  # characters of a setting


def show(console: Console, found: Compared, first: str, second: str) -> None:
    """Print what differs: every strategy's score by dataset and backbone, then what only one has,
    then settings and what a reader must know."""
    say(console, f"A: {first}\nB: {second}\n")
    # Baselines have no seeds and no settings: on the same data they are the same.
    telling = [one for one in found.differences if one.place[2] != UNTRAINED or one.change.value]
    if not telling:
        say(console, "No strategy was trained in both on the same dataset and backbone.\n")
    for (dataset, backbone), rows in groupby(telling, lambda one: one.place[1:]):
        console.print(_table(dataset, backbone, list(rows), dataset in found.other_data))
    for line in (*_words(found), *_alone(found), *_settings(found)):
        for part in textwrap.wrap(printable(line), console.width - 1, subsequent_indent="  "):
            say(console, part)


def _table(dataset: str, backbone: str, rows: Sequence[Difference], other_data: bool) -> Table:
    kind = "untrained" if backbone == UNTRAINED else backbone
    metric = rows[0].metric
    title = f"{short(dataset)}, {kind}: {metric}" + " (other data)" * other_data
    table = Table(title=escape(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify = "left"
    table.add_column("strategy", no_wrap=True)
    for heading in ("A", "B", CHANGES[metric].title, "seeds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in rows:
        means = (text_of(mean, Column(metric)) for mean in one.means)
        change = text_of(one.change, CHANGES[metric])
        table.add_row(escape(short(one.place[0])), *means, change, str(one.seeds))
    return table


def _words(found: Compared) -> Iterator[str]:
    metrics = {one.metric for one in found.differences}
    if SKILL in metrics:
        yield f"skill: 1 - mse / mse of {REFERENCE}; B − A is positive where B is better."
    if MSE in metrics:
        yield (
            f"mse: where one of the two lacks {REFERENCE}; the change is a share of A's, negative "
            "where B is better."
        )
    yield (
        "Means are over the seeds that both have (of 0, each over its own); in brackets a 95 % "
        "interval of the paired change over seeds, which leaves out the sampling of the data."
    )
    if found.other_data:
        yield (
            "note: the data of A and B are not the same, so that nothing is paired, and no "
            f"interval is given, on {', '.join(found.other_data)}"
        )
    if any(found.failed):
        yield "note: failed cells are left out: {} of A, {} of B".format(*found.failed)


def _alone(found: Compared) -> Iterator[str]:
    """What only one of the two has: whole strategies, datasets and backbones, then the rest."""
    both = {one.place for one in found.differences}
    for name, mine, others in zip("AB", found.alone, reversed(found.alone), strict=True):
        there = both | set(others)
        rest = list(mine)
        said = []
        for of, (kind, names) in enumerate(KINDS.items()):
            missing = {place[of] for place in rest} - {place[of] for place in there}
            rest = [place for place in rest if place[of] not in missing]
            if missing:
                said.append(f"{kind} {', '.join(in_order(missing, names))}")
        said += [_place(place) for place in rest[:MOST]]
        said += [f"{len(rest) - MOST} more"] * (len(rest) > MOST)
        if said:
            yield f"only in {name}: {'; '.join(said)}"


KINDS = {"strategies": EVERY_STRATEGY, "datasets": DATASETS, "backbones": (*BACKBONES, UNTRAINED)}


def _place(place: Place) -> str:
    strategy, dataset, backbone = place
    return f"{strategy} on {dataset}" + f" {backbone}" * (backbone != UNTRAINED)


def _settings(found: Compared) -> Iterator[str]:
    if not found.settings:
        yield "settings: the same"
    for name, (first, second) in found.settings.items():
        one, other = (text[:LONGEST] or "not said" for text in (first, second))
        yield f"setting {name}: A {one}; B {other}"
