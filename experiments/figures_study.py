"""What holds across the study's datasets: skills, ranks, profiles, comparisons; with intervals."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from experiments import statistics
from experiments.drawing import (
    NAMES,
    PALE,
    ROW,
    Sketch,
    dashes,
    draw_lines,
    foot,
    highlighted,
    in_families,
    listed,
    look,
    number,
    panels,
    row_labels,
    short,
    side,
)
from experiments.statistics import LEVEL, PLANNED, Comparison, Scores
from experiments.study import SEED

OVER_SEEDS = (
    f"Bars: {100 * LEVEL:.0f} % by a bootstrap of the seeds, the same ones for every group; the "
    "sampling of the data is left out."
)
Estimate = tuple[float, float, float]  # with the ends of its interval
Estimates = Mapping[str, Mapping[str, Estimate]]  # by backbone and strategy


def seeded() -> np.random.Generator:
    """Afresh for every statistic, so that none depends on what was drawn before it."""
    return np.random.default_rng(SEED)


def estimates(
    scores: Mapping[str, Scores], statistic: Callable[[np.ndarray], np.ndarray]
) -> dict[str, dict[str, Estimate]]:
    """A statistic of every strategy, (..., strategies, seeds, groups) -> (..., strategies), with
    its bootstrap interval, by backbone."""
    found = {}
    for backbone, those in scores.items():
        values = statistic(those.values)
        low, high = statistics.bootstrap(those.values, statistic, seeded())
        triples = zip(values.tolist(), low.tolist(), high.tolist(), strict=True)
        found[backbone] = dict(zip(those.strategies, triples, strict=True))
    return found


def counted(scores: Mapping[str, Scores]) -> str:
    """How many groups there are, in words."""
    counts = {backbone: len(those.groups) for backbone, those in scores.items()}
    if len(set(counts.values())) == 1:
        (count,) = set(counts.values())
        return "1 group of datasets" if count == 1 else f"{count} groups of datasets"
    parts = [f"{count} ({backbone})" for backbone, count in counts.items()]
    return f"{listed(parts)} groups of datasets"


def interquartile_mean(found: Estimates, groups: str) -> Sketch:
    """Of the skill, by strategy."""
    return _rows(
        found,
        name="interquartile_mean",
        title="Skill across the study",
        label="Interquartile mean of the skill (1: perfect; 0: clipped climatology)",
        caption=(
            f"Mean of the middle half of all runs' skills over {groups}: "
            "1 - mse / mse of climatology_clipped, floored at -1; right is better. A strategy left "
            f"of the line at 0 loses to the clipped mean of the training data. {OVER_SEEDS}"
        ),
        line=0.0,
    )


def ranks(scores: Mapping[str, Scores], groups: str) -> Sketch:
    """Average rank by strategy."""
    return _rows(
        estimates(scores, statistics.average_rank),
        name="ranks",
        title="Average ranks",
        label="Average rank over groups of datasets (1: best)",
        caption=(
            f"Rank by mean skill within a group of datasets, averaged over {groups}; left is "
            f"better. {OVER_SEEDS}"
        ),
        less_is_better=True,
    )


def improvement(scores: Mapping[str, Scores]) -> Sketch | None:
    """Probability that a run beats one of `clip`."""
    found: dict[str, dict[str, Estimate]] = {}
    for backbone, those in scores.items():
        if "clip" not in those.strategies:
            continue

        def chance(pairs: np.ndarray) -> np.ndarray:
            return np.array([statistics.probability_of_improvement(*pair) for pair in pairs])

        found[backbone] = {}
        for name in those.strategies:
            pair = np.stack([those.of(name), those.of("clip")])
            low, high = statistics.bootstrap(pair, chance, seeded(), resamples=500)
            if name != "clip":
                found[backbone][name] = (float(chance(pair[None])[0]), float(low), float(high))
    found = {backbone: those for backbone, those in found.items() if those}
    if not found:
        return None
    return _rows(
        found,
        name="improvement",
        title="Probability of improvement over clip",
        label="Probability that a run scores higher than one of clip",
        caption=(
            "Probability that a run of the strategy has a higher skill than a run of clip on the "
            "same group of datasets, averaged over groups; ties count half; right of the line is "
            f"better than clip. {OVER_SEEDS}"
        ),
        line=0.5,
        ends=(-0.02, 1.02),
    )


def _rows(
    found: Estimates,
    *,
    name: str,
    title: str,
    label: str,
    caption: str,
    line: float | None = None,
    ends: tuple[float, float] | None = None,
    less_is_better: bool = False,
) -> Sketch:
    """A row a strategy, the best on top, a panel a backbone, with intervals."""
    sign = 1 if less_is_better else -1
    every = {one for those in found.values() for one in those}
    middle = {
        one: float(np.mean([those[one][0] for those in found.values() if one in those]))
        for one in every
    }
    names = sorted(in_families(every), key=lambda one: sign * middle[one])
    figure, grid = panels(
        len(found),
        len(found),
        (min(4.5, 8.0 / len(found)), ROW * len(names) + 0.15),
        left=NAMES,
        gap=(0.2, 0),
    )
    values = np.array([triple for those in found.values() for triple in those.values()])
    shown = values.min(), values.max()
    room = 0.04 * (shown[1] - shown[0]) + 0.01
    for axes, (backbone, those) in zip(grid, found.items(), strict=True):
        if line is not None:
            axes.axvline(line, color="#888888", linewidth=0.8, zorder=0.6)
        _dots(axes, {names.index(one): (one, triple) for one, triple in those.items()})
        axes.set_title(backbone)
        axes.set_xlim(ends or (shown[0] - room, shown[1] + room))
        row_labels(axes, names)
        axes.tick_params(labelleft=axes is grid[0])
    foot(figure, label)
    parts = []
    for backbone, those in found.items():
        order = sorted(those, key=lambda one: sign * those[one][0])
        parts.append(
            f"{backbone}: best {listed(_told(one, those[one]) for one in order[:3])}; worst "
            f"{_told(order[-1], those[order[-1]])}"
            + (f"; clip {number(those['clip'][0])}." if "clip" in those else ".")
        )
    alt = f"{label}. " + " ".join(parts)
    return Sketch(name=name, figure=figure, title=title, caption=caption, alt=alt)


def _told(name: str, triple: Estimate) -> str:
    value, low, high = map(number, triple)
    return f"{short(name)} {value}" + f" ({low} to {high})" * (triple[1] < triple[2])


def _dots(axes: Axes, rows: Mapping[float, tuple[str, Estimate]], filled: bool = True) -> None:
    """A strategy's mark at each place, with its interval."""
    colors = [look(name)["color"] for name, _ in rows.values()]
    bars = [[(low, row), (high, row)] for row, (_, (_, low, high)) in rows.items()]
    draw_lines(axes, bars, colors, 1.4, zorder=2)
    for row, (name, (value, low, high)) in rows.items():
        style = look(name)
        face = style["color"] if filled else "white"
        axes.plot(value, row, linestyle="", markersize=5, mfc=face, zorder=3, label=name, **style)
        axes.update_datalim([(low, row), (high, row)])


def backbones(scores: Mapping[str, Scores]) -> Sketch | None:
    """Mean skill on two backbones side by side, and how far it is from that of `clip`."""
    if len(scores) < 2 or any("clip" not in those.strategies for those in scores.values()):
        return None
    scores = dict(list(scores.items())[:2])
    skill, gain = estimates(scores, statistics.mean), _gains(scores)
    one, other = scores
    names = [name for name in scores[one].strategies if name in skill[other]]
    names.sort(key=lambda name: -(skill[one][name][0] + skill[other][name][0]))
    figure, grid = panels(
        2, 2, (3.95, 0.22 * len(names) + 0.15), left=NAMES, top=0.65, bottom=0.3, gap=(0.2, 0)
    )
    for axes, found, title in zip(
        grid, (skill, gain), ("mean skill", "mean skill less that of clip"), strict=True
    ):
        pairs = [
            [(found[one][name][0], row), (found[other][name][0], row)]
            for row, name in enumerate(names)
        ]
        draw_lines(axes, pairs, [PALE] * len(pairs), 0.8)
        for backbone, shift in zip(scores, (-0.14, 0.14), strict=True):
            rows = {row + shift: (name, found[backbone][name]) for row, name in enumerate(names)}
            _dots(axes, rows, filled=backbone == one)
        axes.set_title(title)
        row_labels(axes, names)
        axes.tick_params(labelleft=axes is grid[0])
        axes.axvline(0, color="#888888", linewidth=0.8, zorder=0.6)
    figure.legend(handles=_backbone_handles(scores), loc="upper center", ncols=2, borderaxespad=0.1)
    better = [n for n in names if all(gain[backbone][n][1] > 0 for backbone in scores)]
    worse = [n for n in names if all(gain[backbone][n][2] < 0 for backbone in scores)]
    apart = [n for n in names if gain[one][n][0] * gain[other][n][0] < 0]
    return Sketch(
        name="backbones",
        figure=figure,
        title="The two backbones side by side",
        caption=(
            f"Mean skill over groups of datasets on {one} (filled) and {other} (open), and its "
            "difference from clip's on the same backbone. What lies on one side of 0 on both "
            f"backbones holds on both; what does not is a matter of the backbone. {OVER_SEEDS}"
        ),
        alt=(
            f"Above clip on both backbones, intervals included: {listed(map(short, better), 30)}. "
            f"Below it on both: {listed(map(short, worse), 30)}. On different sides of it: "
            f"{listed(map(short, apart), 30)}. Skill of clip: {number(skill[one]['clip'][0])} on "
            f"{one}, {number(skill[other]['clip'][0])} on {other}."
        ),
    )


def _against_clip(scores: Scores) -> Callable[[np.ndarray], np.ndarray]:
    clip = scores.strategies.index("clip")
    return lambda values: statistics.mean(values) - statistics.mean(values)[..., [clip]]


def _gains(scores: Mapping[str, Scores]) -> dict[str, dict[str, Estimate]]:
    """Mean skill less that of `clip`, by backbone."""
    return {
        backbone: estimates({backbone: those}, _against_clip(those))[backbone]
        for backbone, those in scores.items()
    }


def _backbone_handles(scores: Mapping[str, Scores]) -> list[Line2D]:
    return [
        Line2D([], [], linestyle="", marker="o", color="black", markerfacecolor=face, label=name)
        for name, face in zip(scores, ("black", "white"), strict=False)
    ]


def performance_profile(scores: Mapping[str, Scores]) -> Sketch:
    """Share of runs above each skill, a panel a backbone."""
    thresholds = np.linspace(-1.0, 1.0, 401)[:-1]
    best = {}
    for backbone, those in scores.items():
        best[backbone] = those.strategies[int(statistics.mean(those.values).argmax())]
    every = {name for those in scores.values() for name in those.strategies}
    colored = highlighted(every, best.values())
    figure, grid = panels(
        len(scores),
        len(scores),
        (2.75 if len(scores) > 1 else 4.6, 3.2),
        right=1.85,
        gap=(2.2, 0),
    )
    parts = []
    for axes, (backbone, those) in zip(grid, scores.items(), strict=True):
        profiles = dict(
            zip(
                those.strategies,
                statistics.performance_profile(those.values, thresholds),
                strict=True,
            )
        )
        for name in those.strategies:
            if name not in colored:
                color = look(name)["color"]
                axes.plot(thresholds, profiles[name], color=color, alpha=0.3, linewidth=0.7)
        left = max(-1.0, np.quantile(those.values, 0.02) - 0.05)
        axes.set_xlim(left, 1.0)
        axes.locator_params(axis="x", nbins=5)
        axes.set_ylim(-0.02, 1.02)
        shown = [name for name in colored if name in profiles]
        for name in shown:
            axes.plot(
                thresholds,
                profiles[name],
                color=look(name)["color"],
                linestyle=dashes(name),
                linewidth=1.4,
                label=short(name),
            )
        axes.set_title(backbone)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.02), handlelength=2.6)
        above = {name: float((those.of(name) > 0).mean()) for name in shown}
        order = sorted(above, key=above.__getitem__, reverse=True)
        parts.append(
            f"On {backbone}, share of runs better than clipped climatology: "
            + listed((f"{short(name)} {number(above[name])}" for name in order), 8)
            + "."
        )
    side(figure, "Share of runs with more")
    foot(figure, "Skill")
    rest = "the others are pale lines of their family's colour" if len(colored) < len(every) else ""
    return Sketch(
        name="performance_profile",
        figure=figure,
        title="Performance profiles",
        caption=(
            "Share of all runs (seeds and groups of datasets) whose skill exceeds the value on the "
            "x axis; a higher curve is better, and where two cross neither is better throughout. "
            + (f"Named are the planned comparisons and the best; {rest}. " if rest else "")
            + "Without intervals."
        ),
        alt=" ".join(parts),
    )


def planned(scores: Mapping[str, Scores], groups: str) -> Sketch | None:
    """The comparisons with `clip` that were fixed in advance, with the question of each."""
    scores = {of: those for of, those in scores.items() if "clip" in those.strategies}
    comparisons = {of: statistics.planned_comparisons(those) for of, those in scores.items()}
    gains = _gains(scores)
    names = [
        name
        for name in PLANNED
        if any(found.strategy == name for those in comparisons.values() for found in those)
    ]
    if not names:
        return None
    figure, (axes,) = panels(
        1,
        1,
        (4.4, 0.56 * len(names)),
        left=NAMES,
        right=0.2 + 1.6 * len(comparisons),
        top=0.65,
    )
    parts = []
    for column, (backbone, those) in enumerate(comparisons.items()):
        shift = (column - (len(comparisons) - 1) / 2) * 0.22
        edge = (4.55 + 1.6 * column) / 4.4
        axes.text(edge, 1.02, backbone, transform=axes.transAxes, fontsize=8, va="bottom")
        for found in those:
            row = names.index(found.strategy)
            gain = gains[backbone][found.strategy]
            _dots(axes, {row + 0.12 + shift: (found.strategy, gain)}, filled=column == 0)
            axes.text(
                edge,
                row + 0.12,
                verdict(found),
                transform=axes.get_yaxis_transform(),
                fontsize=8,
                va="center",
            )
            parts.append(
                f"{_told(found.strategy, gain)} on {backbone}, better in {verdict(found)}."
            )
    axes.axvline(0, color="#888888", linewidth=0.8, zorder=0.6)
    row_labels(axes, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    left = axes.get_xlim()[0]
    for row, name in enumerate(names):
        axes.text(left, row - 0.3, " " + PLANNED[name], fontsize=8, va="center", color="#555555")
    axes.set_xlim(left)
    figure.legend(
        handles=_backbone_handles(comparisons), loc="upper center", ncols=2, borderaxespad=0.1
    )
    foot(figure, "Mean skill less that of clip")
    weak = any(found.underpowered for those in comparisons.values() for found in those)
    return Sketch(
        name="planned_comparisons",
        figure=figure,
        title="The planned comparisons with clip",
        caption=(
            f"Difference in mean skill from clip over {groups}, for the "
            f"comparisons fixed in advance, each with its question; right is better. {OVER_SEEDS} "
            "Beside each: in how many of the groups it is above clip; p, of Wilcoxon's signed-rank "
            "test over groups, adjusted by Holm."
            + (
                " Underpowered: with so few groups no outcome could be significant, and no "
                "conclusion is drawn."
                if weak
                else ""
            )
        ),
        alt="Difference in mean skill from clip. " + " ".join(parts),
    )


def verdict(found: Comparison) -> str:
    """Of a planned comparison: the groups it wins, and its adjusted p-value or that it has none."""
    p_value = "underpowered" if found.underpowered else f"p = {number(found.p_value)}"
    return f"{found.better} of {found.groups}, {p_value}"
