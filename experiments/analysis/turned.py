"""What turning one thing does: errors relative to another strategy's along each dial."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from experiments.analysis.effects import AGAINST, Effect, Runs, effect
from experiments.cells import Place
from experiments.data.dials import DIALS


@dataclass(frozen=True)
class Turned:
    """A strategy at one value of a dial, on a backbone."""

    dial: str
    value: float
    backbone: str
    strategy: str
    effect: Effect  # against AGAINST, at the same value


def turned(
    runs: Mapping[Place, Runs], strategies: Iterable[str], backbones: Iterable[str]
) -> list[Turned]:
    """All there is of these strategies, by dial, value, backbone and strategy, but AGAINST
    itself."""
    found = []
    names, backbones = [one for one in strategies if one != AGAINST], list(backbones)
    for dial, datasets in DIALS.items():
        for value, dataset in sorted(datasets.items()):
            for backbone in backbones:
                other = runs.get((AGAINST, dataset, backbone), {})
                for strategy in names:
                    one = runs.get((strategy, dataset, backbone), {})
                    if there := effect(one, other):
                        found.append(Turned(dial, value, backbone, strategy, there))
    return found
