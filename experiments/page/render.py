"""`report.html`: a study as one page that is opened from disk, with no network."""

import base64
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from experiments.analysis.setup_tables import command
from experiments.analysis.study import Study, finals
from experiments.analysis.tables import Column, Entry, Table, is_numeric, slug, sort_key, text_of
from experiments.console import printable
from experiments.figures import captions
from experiments.figures.captions import Words
from experiments.files import listed, read_bytes
from experiments.page.warnings import Caution
from experiments.training.baselines import BASELINES
from experiments.usage import in_order

FOLDER = Path(__file__).parent
MOST_BYTES = 1_800_000  # of the page; figures that do not fit are linked
MOST_PIXELS = 20_000_000  # of a figure
CODE = re.compile(r"`([^`]*)`")
SECTIONS = {
    "warnings": "Warnings",
    "comparisons": "Planned comparisons",
    "ranking": "Ranking by skill",
    "figures": "Figures",
    "turned": "When one thing is turned",
    "parametrisation": "A share, a level or a distance",
    "collapse": "Collapse on autoencoders",
    "wrong": "When the bound is wrong",
    "sums": "When a sum is bounded",
    "failures": "Failed cells",
    "datasets-each": "Every dataset",
    "settings-each": "Settings",
    "reproduce": "How to reproduce",
}


@dataclass(frozen=True, kw_only=True)
class Picture(Words):
    """A figure as the page shows it."""

    name: str  # of its file
    source: str = ""  # a data URI; none for lack of room or of the file
    width: int = 0
    height: int = 0

    @property
    def link(self) -> str:
        return f"figures/{quote(self.name, errors='replace')}"


def pictures(folder: Path) -> list[Picture]:
    """The figures of a folder, in the order in which they were drawn. One that cannot be read has
    no source, and if nothing is said of it either, it is left out."""
    said = captions.read(folder)
    found = []
    there = {path.name for path in listed(folder / "figures", ".png")}
    for name in in_order(there | said.keys(), said):
        words = said.get(name) or Words(title=Path(name).stem.replace("_", " "), caption="")
        picture = Picture(**vars(words), name=name)
        with suppress(FileNotFoundError, ValueError):
            content = read_bytes(folder / "figures" / name, MOST_BYTES)
            source, width, height = _embedded(content)
            picture = replace(picture, source=source, width=width, height=height)
        if picture.source or name in said:
            found.append(picture)
    return found


def _embedded(content: bytes) -> tuple[str, int, int]:
    """A PNG as a data URI, its width and its height.

    Raises:
      ValueError: if it is none, or larger than a figure of a sweep.
    """
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"it has more than {MOST_PIXELS} pixels")
            kept = io.BytesIO()
            image.convert("RGB").save(kept, "WEBP", lossless=True)  # two thirds of the PNG
    except Exception as error:  # whatever Pillow makes of a damaged file
        raise ValueError(str(error)) from error
    source = "data:image/webp;base64," + base64.b64encode(kept.getvalue()).decode()
    return source, image.width, image.height


def _fitting(pictures: Sequence[Picture], room: int) -> list[Picture]:
    """The pictures, with sources as far as there is room: first those of the whole sweep, then
    every dataset's first, every dataset's second, and so on."""

    def turn(place: int) -> int:
        dataset = pictures[place].dataset
        return sum(bool(dataset) and one.dataset == dataset for one in pictures[: place + 1])

    found = list(pictures)
    for place in sorted(range(len(pictures)), key=turn):
        room -= len(pictures[place].source)
        if room < 0:
            found[place] = replace(pictures[place], source="")
    return found


def render(
    name: str,
    study: Study,
    tables: Iterable[Table],
    shown: Sequence[Picture],
    warnings: Sequence[Caution],
) -> str:
    """The page of a sweep: its name, study, tables and figures, and what weakens its numbers."""
    by_section: defaultdict[str, list[Table]] = defaultdict(list)
    for table in tables:
        by_section[table.section].append(table)
    held = {
        "warnings": warnings,
        "ranking": True,
        "figures": shown,
        "reproduce": True,
        **by_section,
    }
    environment = Environment(
        loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"marked": marked, "shown": _shown, "sort_key": sort_key, "slug": slug}
    environment.tests |= {"numeric": is_numeric}
    write = partial(
        environment.get_template("page.html").render,
        name=name,
        study=study,
        manifest=study.manifest,
        tables=by_section,
        skill_tables={f"skill_{of}": f"skill-{of}" for of in study.rankings},
        warnings=warnings,
        sections={key: title for key, title in SECTIONS.items() if held.get(key)},
        counts=_counts(study),
        commands=_commands(study.manifest),
        hours=_hours(study.manifest),
    )
    linked = write(pictures=_fitting(shown, 0)).encode(errors="replace")
    return printable(write(pictures=_fitting(shown, MOST_BYTES - len(linked))))


def marked(text: str) -> Markup:
    """Text with `code` as HTML; all else is escaped."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))


def _shown(entry: Entry, column: Column) -> Markup:
    """A table's entry: an interval on a line of its own, names broken at their underscores."""
    text = text_of(entry, column)
    if isinstance(entry, str):
        return Markup("_<wbr>").join(map(escape, text.split("_")))
    value, bracket, interval = text.partition(" [")
    small = Markup(" <small>[{}</small>").format(interval) if bracket else ""
    return escape(value) + small


def _counts(study: Study) -> dict[str, int]:
    """What was compared, in numbers."""
    trained = [name for name in study.strategies if name not in BASELINES]
    return {
        "trained strategies": len(trained),
        "untrained baselines": len(study.strategies) - len(trained),
        "datasets": len(study.every_dataset),
        "ranked groups": len({g for r in study.rankings.values() for g in r.scores.groups}),
        "backbones": len(study.backbones),
        "seeds": len({record.cell.seed for record in finals(study)}),
    }


def _commands(manifest: Mapping[str, Any]) -> list[str]:
    """Every session's command, each once."""
    commands = [session.get("command") for session in manifest.get("sessions", [])]
    return list(dict.fromkeys(command(found) for found in commands if found))


def _hours(manifest: Mapping[str, Any]) -> str:
    """How long it took on the devices that there were."""
    seconds = sum(
        session.get(key) or 0
        for session in manifest.get("sessions", [])
        for key in ("compile_seconds", "train_seconds")
    )
    if not seconds:
        return ""
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
