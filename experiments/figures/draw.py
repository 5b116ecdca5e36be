"""Numbers to matplotlib figures: what is drawn of a sweep, and where it is written."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from experiments import store
from experiments.analysis import study
from experiments.analysis.study import Study, finals
from experiments.cells import Record
from experiments.figures import (
    captions,
    constraint_shapes,
    example_windows,
    gradient_health,
    scores,
    training_curves,
)
from experiments.figures.style import STYLE, Sketch
from experiments.files import make_folder, write_bytes

RESOLUTION = 130  # pixels an inch
SHOWN = {"example_inputs", "example_targets", "example_output"}
Arrays = Mapping[str, Mapping[str, np.ndarray]]  # by a record's id


def draw_all(folder: Path, found: Study) -> None:
    """Every figure of a sweep's final cells, into `figures/`, with what is said of it; nothing
    where none is trained. Those drawn before that are not drawn now are deleted.

    Those of the whole sweep come first, the most important on top, then those of each dataset.
    """
    done = [record for record in finals(found) if record.is_done]
    if not any(record.cell.is_trained for record in done):
        captions.keep(folder, (), found.records)
        return
    make_folder(folder / "figures")
    arrays = store.arrays_of(folder, done)
    with matplotlib.rc_context(STYLE):
        drawn = _draw(folder / "figures", sketches(found, arrays))
        captions.keep(folder, drawn, found.records)


def _draw(target: Path, found: Iterable[Sketch]) -> Iterator[tuple[str, Sketch]]:
    """Each sketch as a file of its own name."""
    for sketch in found:
        save(sketch.figure, target / f"{sketch.name}.png")
        yield f"{sketch.name}.png", sketch


def sketches(of: Study, arrays: Arrays) -> Iterator[Sketch]:
    """Each figure, not yet written; under STYLE.

    Args:
      of: what is drawn.
      arrays: of finished final cells, by id; `history_*` and `example_*` where there are any.
    """
    lost = Counter(record.cell.dataset for record in finals(of) if not record.is_done)
    for sketch in filter(None, _every(of, arrays)):
        failed = lost[sketch.dataset]
        left_out = f" Left out are cells that failed: {failed}." if failed else ""
        yield replace(sketch, caption=sketch.caption + left_out)


def _every(of: Study, arrays: Arrays) -> Iterator[Sketch | None]:
    """None for what there is nothing of."""
    done = [record for record in finals(of) if record.is_done]
    histories = training_curves.histories(done, arrays)
    if of.rankings:
        groups = counted(len(ranking.scores.groups) for ranking in of.rankings.values())
        yield scores.skills(of.rankings, groups)
        yield scores.planned(of.rankings, groups)
        yield scores.performance_profile(of.rankings)
    yield gradient_health.collapse(of)
    yield from gradient_health.gradient_health(of)
    ranked = study.ranked(of.manifest, of.records)
    groups = counted([len({ranked[name] for name in histories if name in ranked})])
    over_groups = training_curves.mean_over_groups(histories, ranked)
    yield training_curves.gradient_training(over_groups, where=f"mean over {groups}")
    for dataset in of.datasets("wrong_bound"):
        if of.backbones_of(dataset):
            yield gradient_health.wrong_bound(of, dataset)
    yield constraint_shapes.constraint_shapes()
    for dataset in of.every_dataset:
        yield scores.loss_violation(of, dataset)
        yield training_curves.training_curves(dataset, histories.get(dataset, {}))
        yield training_curves.gradient_training(histories.get(dataset, {}), dataset)
        for backbone in of.backbones_of(dataset):
            yield _example(dataset, backbone, done, arrays)


def _example(
    dataset: str, backbone: str, records: Iterable[Record], arrays: Arrays
) -> Sketch | None:
    """Of the lowest seed that has windows, and of the version of the data that most are of."""
    windows: dict[tuple[int, str], dict[str, Mapping[str, np.ndarray]]] = {}
    for record in records:
        cell, found = record.cell, arrays[record.id]
        if (cell.dataset, cell.backbone) == (dataset, backbone) and found.keys() >= SHOWN:
            version = f"{cell.data_hash} {found['example_output'].shape}"
            windows.setdefault((cell.seed, version), {})[cell.strategy] = found
    if not windows:
        return None
    seed, version = min(windows, key=lambda key: (key[0], -len(windows[key]), key[1]))
    return example_windows.examples(dataset, backbone, seed, windows[seed, version])


def counted(counts: Iterable[int]) -> str:
    """So many groups of datasets, in words; `9 and 8` where backbones differ."""
    different = list(dict.fromkeys(counts))
    plural = "" if different == [1] else "s"
    return f"{' and '.join(map(str, different))} group{plural} of datasets"


def save(figure: Figure, path: Path) -> None:
    """As a PNG of at most 96 colours, each near its own, so that a page holds many."""
    canvas = FigureCanvasAgg(figure)
    figure.dpi = RESOLUTION
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = image.quantize(96, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    content = io.BytesIO()
    few.save(content, "PNG", optimize=True)
    write_bytes(path, content.getvalue())
