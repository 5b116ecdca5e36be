"""`report.html`: a study as one page that is opened from disk, with no network."""

import base64
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from experiments.analysis.setup_tables import command
from experiments.analysis.study import Study
from experiments.analysis.tables import Column, Entry, Table, is_numeric, slug, text_of
from experiments.console import printable
from experiments.figures import captions
from experiments.figures.captions import Words
from experiments.files import listed, read_bytes
from experiments.page import charts, excerpts, runs
from experiments.page.warnings import Caution
from experiments.usage import in_order

FOLDER = Path(__file__).parent
LIBRARIES = "vega", "vega-lite", "vega-embed"  # in that order
MOST_BYTES = 1_950_000  # of the page; figures that do not fit are linked
SHARE_OF_RUNS = 0.9  # of the room that text leaves, for runs; the rest is for tables and figures
MOST_PIXELS = 20_000_000  # of a figure
CODE = re.compile(r"`([^`]*)`")
SECTIONS = {
    "every-run": "Runs",
    "questions": "Comparisons",
    "failures": "Failed cells",
    "datasets-each": "Datasets",
    "figures": "Figures",
    "settings-each": "Settings",
}
QUESTIONS = "comparisons", "parametrisation", "turned", "collapse", "wrong", "sums"


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
    there = {path.name for path in listed(folder / "figures", ".png")}
    found = []
    for name in in_order(there, said):
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
    arrays: runs.Arrays,
) -> str:
    """The page of a sweep.

    Args:
      name: the sweep's.
      study: what it is of.
      tables: all of them, which are in `tables/` as CSV.
      shown: its figures.
      warnings: what weakens its numbers.
      arrays: of its final records, by id.
    """
    by_section: defaultdict[str, list[Table]] = defaultdict(list)
    for table in tables:
        by_section[table.section].append(table)
    families = in_order({charts.family(of) for of in study.strategies}, charts.COLORS)
    specs = charts.specs(runs.metric_of(study), families)
    write = partial(
        _environment().get_template("page.html").render,
        name=name,
        study=study,
        manifest=study.manifest,
        tables=by_section,
        files={table.name: f"{table.name}.csv" for of in by_section.values() for table in of},
        short=excerpts.shortened(study, by_section),
        skill_tables={f"skill_{of}": f"skill-{slug(of)}" for of in study.rankings},
        warnings=warnings,
        sections=_sections(by_section, shown),
        counts=excerpts.counts(study),
        ran=excerpts.ran(study),
        choices=runs.choices(study, families),
        colors=charts.COLORS,
        commands=_commands(study.manifest),
        hours=_hours(study.manifest),
        specs=runs.in_script({"charts": specs, "colors": charts.COLORS}),
        libraries=_libraries(),
    )

    def room(**parts: Any) -> int:
        """Bytes that are left beside these."""
        return MOST_BYTES - len(write(**parts).encode(errors="replace"))

    linked = _fitting(shown, 0)
    whole = runs.gather(study, arrays)
    left = room(held=runs.fit(whole, 0), with_each=False, pictures=linked)
    held = runs.fit(whole, int(SHARE_OF_RUNS * left))
    with_each = room(held=held, with_each=True, pictures=linked) > 0
    fitting = _fitting(shown, room(held=held, with_each=with_each, pictures=linked))
    return printable(write(held=held, with_each=with_each, pictures=fitting))


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


def _numeric(table: Table) -> set[int]:
    """The places of columns that hold no text."""
    return {place for place in range(len(table.columns)) if is_numeric(table, place)}


def _environment() -> Environment:
    found = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)
    found.filters |= {"marked": marked, "shown": _shown, "numeric": _numeric, "slug": slug}
    return found


@cache
def _libraries() -> str:
    """Vega-Lite and what it needs, with its licences, as one script."""
    folder = FOLDER / "vega"
    licences = (folder / "LICENSES.txt").read_text(encoding="utf-8")
    texts = [(folder / f"{name}.min.js").read_text(encoding="utf-8") for name in LIBRARIES]
    whole = "\n".join(re.sub(r"\n//# sourceMappingURL=.*", "", text) for text in texts)
    return f"/*\n{licences}*/\n{whole}"


def _sections(tables: Mapping[str, Sequence[Table]], shown: Sequence[Picture]) -> dict[str, str]:
    """Those that hold something."""
    held = {
        "every-run": True,
        "questions": any(tables[name] for name in QUESTIONS),
        "failures": tables["failures"],
        "datasets-each": tables["datasets-each"],
        "figures": any(not picture.dataset for picture in shown),
        "settings-each": True,
    }
    return {key: title for key, title in SECTIONS.items() if held[key]}


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
