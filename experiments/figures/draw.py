"""Numbers to matplotlib figures: what is drawn of a sweep, and where it is written."""

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from experiments import store
from experiments.analysis.study import Study, finals
from experiments.cells import Record
from experiments.figures import (
    captions,
    comparisons,
    constraint_shapes,
    example_windows,
    frontiers,
    gradient_health,
    judgement,
    scores,
    training_curves,
    turns,
)
from experiments.figures.style import PAGE, PAPER, Sketch, styled
from experiments.files import make_folder, write_bytes

RESOLUTION, PRINTED = 130, 300  # pixels an inch: on a page, in a paper
SHOWN = {"example_targets", "example_output"}
Arrays = Mapping[str, Mapping[str, np.ndarray]]  # by a record's id


def draw_all(folder: Path, found: Study, out: Path | None = None, form: str = "png") -> None:
    """Every figure of a sweep's final cells, into `figures/`, with what is said of it; nothing
    where none is trained. Those drawn before that are not drawn now are deleted.

    Those of the whole sweep come first, the most important on top, then those of each dataset.

    Args:
      folder: the sweep's.
      found: what is drawn of it.
      out: the folder of a paper that they are for, if they are not for the page.
      form: one of `captions.FORMS`.
    """
    target = out or folder
    done = [record for record in finals(found) if record.is_done]
    if not found.trains:
        captions.keep(target, (), found.records)
        return
    make_folder(target / "figures")
    arrays = store.arrays_of(folder, done)
    write = partial(save, resolution=PRINTED if out else RESOLUTION)
    with styled(PAPER if out else PAGE):
        drawn = _draw(write, target / "figures", form, sketches(found, arrays))
        captions.keep(target, drawn, found.records)


def _draw(
    write: Callable[[Figure, Path], None], target: Path, form: str, found: Iterable[Sketch]
) -> Iterator[tuple[str, Sketch]]:
    """Each sketch as a file of its own name."""
    for sketch in found:
        write(sketch.figure, target / f"{sketch.name}.{form}")
        yield f"{sketch.name}.{form}", sketch


def sketches(of: Study, arrays: Arrays) -> Iterator[Sketch]:
    """Each figure, not yet written; while `styled`.

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
    yield comparisons.planned(of)
    yield scores.skills(of)
    yield scores.performance_profile(of)
    yield from turns.dials(of)
    yield judgement.rule(of)
    yield frontiers.soft_frontier(of)
    yield gradient_health.collapse(of)
    yield from gradient_health.gradient_health(of)
    yield training_curves.gradient_training_of_study(of, histories)
    for dataset in of.datasets("wrong_bound"):
        if of.backbones_of(dataset):
            yield gradient_health.wrong_bound(of, dataset)
    yield constraint_shapes.constraint_shapes(of.choice.shows)
    for dataset in of.every_dataset:
        yield scores.loss_violation(of, dataset)
        yield training_curves.training_curves(of, dataset, histories.get(dataset, {}))
        yield training_curves.gradient_training(of, histories.get(dataset, {}), dataset)
        for backbone in of.backbones_of(dataset):
            yield example(of, dataset, backbone, done, arrays)


def example(
    of: Study, dataset: str, backbone: str, records: Iterable[Record], arrays: Arrays
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
    return example_windows.examples(of, dataset, backbone, seed, windows[seed, version])


def save(figure: Figure, path: Path, resolution: int = RESOLUTION) -> None:
    """In the form that the path ends with: a PNG, or PDF or SVG without the time of day."""
    with warnings.catch_warnings():
        # A name may hold letters that the font lacks: boxes are drawn for them.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        if path.suffix == ".png":
            content = _png(figure, resolution)
        else:
            content = _vectors(figure, path.suffix[1:])
    write_bytes(path, content)


def _vectors(figure: Figure, form: str) -> bytes:
    content = io.BytesIO()
    date = {"pdf": "CreationDate", "svg": "Date"}[form]
    figure.savefig(content, format=form, metadata={date: None})
    return content.getvalue()


def _png(figure: Figure, resolution: int) -> bytes:
    """Of at most 96 colours, each near its own, so that a page holds many."""
    canvas = FigureCanvasAgg(figure)
    figure.dpi = resolution
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    few = image.quantize(96, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    content = io.BytesIO()
    few.save(content, "PNG", optimize=True)
    return content.getvalue()
