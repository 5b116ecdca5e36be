"""Numbers to matplotlib figures: what is drawn of a sweep, and where it is written."""

import io
import textwrap
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from experiments import store
from experiments.analysis.study import Study
from experiments.cells import Record
from experiments.figures import (
    captions,
    collapse,
    comparisons,
    constraint_shapes,
    example_windows,
    fonts,
    frontiers,
    gradient_health,
    judgement,
    seeds,
    training_curves,
    turns,
    wrong_bound,
)
from experiments.figures.style import Sketch, styled
from experiments.files import make_folder, write_bytes

RESOLUTION, PRINTED = 160, 300  # pixels an inch: on a page, in a paper
LINE, LETTER = 0.2, 0.09  # inches of a title above a figure
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
    done = [record for record in found.finals if record.is_done]
    if not found.trains:
        captions.keep(target, (), found.records)
        return
    make_folder(target / "figures")
    arrays = store.arrays_of(folder, done)
    with styled():
        drawn = _draw(target / "figures", form, sketches(found, arrays), for_paper=out is not None)
        captions.keep(target, drawn, found.records)


def _draw(
    target: Path, form: str, found: Iterable[Sketch], for_paper: bool
) -> Iterator[tuple[str, Sketch]]:
    """Each sketch as a file of its own name; a paper's has its title in the text below."""
    for sketch in found:
        path = target / f"{sketch.name}.{form}"
        if for_paper:
            save(sketch.figure, path, PRINTED)
        else:
            save(sketch.figure, path, title=sketch.title)
        yield path.name, sketch


def sketches(of: Study, arrays: Arrays) -> Iterator[Sketch]:
    """Each figure, not yet written; while `styled`.

    Args:
      of: what is drawn.
      arrays: of finished final cells, by id; `history_*` and `example_*` where there are any.
    """
    lost = Counter(record.cell.dataset for record in of.finals if not record.is_done)
    for sketch in filter(None, _every(of, arrays)):
        failed = lost[sketch.dataset]
        left_out = f" Left out are cells that failed: {failed}." if failed else ""
        yield replace(sketch, caption=sketch.caption + left_out)


def _every(of: Study, arrays: Arrays) -> Iterator[Sketch | None]:
    """None for what there is nothing of."""
    done = [record for record in of.finals if record.is_done]
    histories = training_curves.histories(done, arrays)
    yield seeds.seeds(of)
    yield comparisons.planned(of)
    yield from turns.dials(of)
    yield judgement.rule(of)
    yield frontiers.soft_frontier(of)
    yield gradient_health.gradient_health(of)
    yield collapse.collapse(of)
    for dataset in of.datasets("wrong_bound"):
        yield wrong_bound.wrong_bound(of, dataset)
    yield constraint_shapes.constraint_shapes(of.choice.shows)
    for dataset in of.every_dataset:
        yield training_curves.training_curves(of, dataset, histories.get(dataset, {}))
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


def save(figure: Figure, path: Path, resolution: int = RESOLUTION, title: str = "") -> None:
    """In the form that the path ends with: a PNG, or PDF or SVG without the time of day. A title
    stands above the figure."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(title, int(width / LETTER))
    if lines:
        above = {"va": "bottom", "fontsize": 10, "fontweight": "bold"}
        figure.text(0.1 / width, 1 + 0.06 / height, "\n".join(lines), **above)
    box = Bbox([[0, 0], [width, height + LINE * len(lines) + 0.1 * bool(lines)]])
    fonts.complete(figure)
    content = io.BytesIO()
    with warnings.catch_warnings():
        # `complete` has warned of letters that no font has.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        if path.suffix == ".png":
            figure.savefig(content, format="png", dpi=resolution, bbox_inches=box)
            content = _few_colours(content)
        else:
            form = path.suffix[1:]
            date = {"pdf": "CreationDate", "svg": "Date"}[form]
            figure.savefig(content, format=form, metadata={date: None}, bbox_inches=box)
    write_bytes(path, content.getvalue())


def _few_colours(png: io.BytesIO) -> io.BytesIO:
    """At most 96, each near its own, so that a page holds many."""
    image = Image.open(png).convert("RGB")
    few = image.quantize(96, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
    content = io.BytesIO()
    few.save(content, "PNG", optimize=True)
    return content
