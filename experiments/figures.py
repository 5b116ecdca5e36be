"""Numbers to matplotlib figures: what is drawn of a sweep, and where it is written."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from experiments import (
    captions,
    figures_examples,
    figures_gradients,
    figures_shapes,
    figures_study,
    figures_tradeoff,
    figures_training,
    statistics,
    store,
    study,
)
from experiments.drawing import (
    STYLE,
    Place,
    Sketch,
    Spreads,
    foot,
    listed,
    panels,
    places,
    row_labels,
    short,
)
from experiments.store import Record
from experiments.study import Ranking, Study, finals

RESOLUTION = 130  # pixels an inch
Arrays = Mapping[str, Mapping[str, np.ndarray]]  # by a record's id


def draw_all(folder: Path, found: Study) -> None:
    """Every figure of a sweep's final cells, into `figures/`, with what is said of it; nothing
    where none is trained. Those drawn before that are not drawn now are deleted.

    Those of the whole sweep come first, the most important on top, then those of each dataset.
    """
    done = [record for record in finals(found) if record["status"] == "done"]
    if all(record["config"]["backbone"] == "none" for record in done):
        captions.keep(folder, (), found.records)
        return
    (folder / "figures").mkdir(exist_ok=True)
    arrays = {record["id"]: _arrays(folder, record["id"]) for record in done}
    with matplotlib.rc_context(STYLE):
        drawn = _draw(folder / "figures", sketches(found, arrays))
        captions.keep(folder, drawn, found.records)


def _draw(target: Path, found: Iterable[Sketch]) -> Iterator[tuple[str, Sketch]]:
    """Each sketch as a file of its own name."""
    taken: set[str] = set()
    for sketch in found:
        name = next(n for n in _names(sketch.name) if n not in taken)
        taken.add(name)
        save(sketch.figure, target / f"{name}.png")
        yield f"{name}.png", sketch


def _names(name: str) -> Iterator[str]:
    """A file's name, then others, for datasets whose names differ in punctuation alone."""
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _arrays(folder: Path, identity: str) -> Mapping[str, np.ndarray]:
    """A cell's arrays; none of a record without them, such as one written by hand."""
    try:
        return store.load_arrays(folder, identity)
    except FileNotFoundError:
        return {}


def sketches(of: Study, arrays: Arrays) -> Iterator[Sketch]:
    """Each figure, not yet written; under STYLE.

    Args:
      of: what is drawn.
      arrays: of finished final cells, by id; `history_*` and `example_*` where there are any.
    """
    records, roles, found = finals(of), of.roles, places(of.spreads)
    done = [record for record in records if record["status"] == "done"]
    histories = figures_training.histories(done, arrays)
    ranked = study.ranked(of.manifest, of.records)
    yield from _of_rankings(of.rankings)
    codes = {place: found[place] for place in found if roles[place[0]] == "autoencoder"}
    yield from _there(figures_gradients.collapse(codes))
    yield from figures_gradients.gradient_health(found)
    over_groups = figures_training.mean_over_groups(histories, ranked)
    count = len({ranked[name] for name, _ in histories if name in ranked})
    groups = f"{count} group{'s' * (count != 1)} of datasets"
    yield from _there(figures_training.gradient_training(over_groups, groups=groups))
    for dataset in dict.fromkeys(name for name, _ in found if roles[name] == "wrong_bound"):
        yield figures_gradients.wrong_bound(found, dataset)
    yield figures_shapes.constraint_shapes()
    for dataset in dict.fromkeys(name for name, _ in found):
        lost = _lost(records, dataset)
        for sketch in _of_dataset(dataset, done, arrays, found, histories):
            yield replace(sketch, caption=sketch.caption + lost)


def _there(sketch: Sketch | None) -> list[Sketch]:
    return [sketch] if sketch else []


def _of_rankings(rankings: Mapping[str, Ranking]) -> Iterator[Sketch]:
    if not rankings:
        return
    scores = {backbone: ranking.scores for backbone, ranking in rankings.items()}
    counted = figures_study.counted(scores)
    skills, middle = (
        figures_study.estimates(scores, statistic)
        for statistic in (statistics.mean, statistics.interquartile_mean)
    )
    rates = {
        backbone: {name: shares["violation_rate"] for name, shares in ranking.shares.items()}
        for backbone, ranking in rankings.items()
    }
    yield figures_tradeoff.skill_violation(skills, rates, counted)
    yield figures_study.interquartile_mean(middle, counted)
    yield from _there(figures_study.planned(scores, counted))
    yield from _there(figures_study.backbones(scores))
    yield figures_study.ranks(scores, counted)
    yield from _there(figures_study.improvement(scores))
    yield figures_study.performance_profile(scores)


def _of_dataset(
    dataset: str,
    records: Sequence[Record],
    arrays: Arrays,
    found: Mapping[Place, Spreads],
    histories: figures_training.Histories,
) -> Iterator[Sketch]:
    here = {backbone: found[name, backbone] for name, backbone in found if name == dataset}
    runs = {backbone: those for (name, backbone), those in histories.items() if name == dataset}
    yield figures_tradeoff.loss_violation(dataset, here)
    yield from _there(figures_training.training_curves(dataset, runs))
    yield from _there(figures_training.gradient_training(runs, dataset))
    for backbone in here:
        windows = {
            (record["config"]["seed"], record["config"]["strategy"]["name"]): arrays[record["id"]]
            for record in records
            if record["config"]["dataset"]["name"] == dataset
            and record["config"]["backbone"] == backbone
            and "example_output" in arrays[record["id"]]
        }
        if windows:
            seed = min(seed for seed, _ in windows)
            shown = {name: window for (of, name), window in windows.items() if of == seed}
            yield figures_examples.examples(dataset, backbone, seed, shown)


def _lost(records: Iterable[Record], dataset: str) -> str:
    """A sentence on the cells of a dataset that failed."""
    failed = Counter(
        (record["config"]["strategy"]["name"], record["config"]["backbone"])
        for record in records
        if record["status"] == "failed" and record["config"]["dataset"]["name"] == dataset
    )
    if not failed:
        return ""
    parts = (f"{count} of {short(name)}, {backbone}" for (name, backbone), count in failed.items())
    return f" Left out are cells that failed: {listed(parts, 12)}."


def save(figure: Figure, path: Path) -> None:
    """As a PNG of at most 96 colours, each near its own, so that a page holds many."""
    canvas = FigureCanvasAgg(figure)
    figure.dpi = RESOLUTION
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = image.quantize(96, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def throughput(rows: Sequence[dict[str, Any]]) -> Figure:
    """Training throughput by stack, a panel a shape; whiskers from the lowest to the highest."""
    shown = [row for row in rows if "spread" in row and row["stack"] != "sgemm"]
    keys = ("hidden", "steps", "features", "batch")
    shapes = list(dict.fromkeys(tuple(row[key] for key in keys) for row in shown))
    stacks = list(dict.fromkeys(row["stack"] for row in shown))
    with matplotlib.rc_context(STYLE):
        figure, grid = panels(
            len(shapes),
            2,
            (3.4, 0.28 * len(stacks)),
            left=1.9,
            gap=(0.2, 0.45),
        )
        for index, (axes, shape) in enumerate(zip(grid, shapes, strict=True)):
            for row in shown:
                if tuple(row[key] for key in keys) != shape:
                    continue
                place, rate = stacks.index(row["stack"]), row["sequences_per_second"]
                low, high = row["spread"]
                color = "#0072B2" if row["stack"].startswith("bounded") else "#999999"
                axes.barh(place, rate, color=color, height=0.7)
                axes.plot([low, high], [place, place], color="black", linewidth=1)
                axes.text(high, place, f" {rate:,.0f}", va="center", fontsize=8)
            hidden, steps, features, batch = shape
            axes.set_title(f"{hidden} hidden, {steps} steps × {features}, batch {batch}")
            row_labels(axes, stacks)
            axes.tick_params(labelleft=index % 2 == 0)
            axes.set_xlim(0, 1.25 * axes.get_xlim()[1])
            axes.grid(axis="y", visible=False)
        foot(figure, "Sequences trained a second (median; line: lowest to highest)")
    return figure
