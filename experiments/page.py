"""`report.html`: a study as one page that is opened from disk, with no network."""

import base64
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from experiments import captions
from experiments.baselines import BASELINES
from experiments.captions import Words
from experiments.caveats import caveats, grave, power
from experiments.choices import in_order
from experiments.evidence import Evidence
from experiments.findings import answer
from experiments.needs import recommend
from experiments.protocol import command
from experiments.study import Study, finals
from experiments.tables import Column, Entry, is_numeric, sort_key, text_of

TEMPLATES = Path(__file__).parent / "templates"
MOST_BYTES = 1_800_000  # of the page; figures that do not fit are linked
MARKS = re.compile(r"`([^`]*)`|\[([^\]\[]*(?:\[[^\]]*\])?)\]\(#([^)\s]*)\)")
SECTIONS = {
    "answer": "Answer",
    "needs": "By need",
    "ranking": "Ranking",
    "figures": "Figures",
    "comparisons": "Against clip",
    "collapse": "Collapse",
    "wrong": "Wrong bound",
    "sums": "Sums",
    "caveats": "Caveats",
    "datasets-each": "Every dataset",
    "every-setting": "Every setting",
    "reproduce": "Reproduce",
}


@dataclass(frozen=True, kw_only=True)
class Picture(Words):
    """A figure as the page shows it."""

    name: str  # of its file
    source: str = ""  # a data URI; none for lack of room or of the file
    width: int = 0
    height: int = 0


def pictures(folder: Path) -> list[Picture]:
    """The figures of a folder, in the order in which they were drawn; one without words has its
    file's name, one whose file is missing no source."""
    said = captions.read(folder)
    there = {path.name: path for path in sorted((folder / "figures").glob("*.png"))}
    found = []
    for name in in_order(there.keys() | said.keys(), said):
        if name not in there:
            found.append(Picture(**vars(said[name]), name=name))
            continue
        stem = there[name].stem.replace("_", " ")
        words = said.get(name) or Words(title=stem, caption="", alt=stem)
        with suppress(OSError, SyntaxError), Image.open(there[name]) as image:
            kept = io.BytesIO()
            image.convert("RGB").save(kept, "WEBP", lossless=True)  # two thirds of the PNG
            source = "data:image/webp;base64," + base64.b64encode(kept.getvalue()).decode()
            width, height = image.size
            found.append(
                Picture(**vars(words), name=name, source=source, width=width, height=height)
            )
    return found


def _fitting(pictures: Sequence[Picture], room: int) -> list[Picture]:
    """The pictures, with sources as far as there is room: first those of the whole sweep, then
    every dataset's first, every dataset's second, and so on."""
    turns: Counter[str] = Counter()
    order = []
    for place, picture in enumerate(pictures):
        turns[picture.dataset] += bool(picture.dataset)
        order.append((turns[picture.dataset], place))
    found = list(pictures)
    for _, place in sorted(order):
        room -= len(pictures[place].source)
        if room < 0:
            found[place] = replace(pictures[place], source="")
    return found


def render(
    name: str, study: Study, evidence: Evidence, shown: Sequence[Picture], notes: Sequence[str]
) -> str:
    """The page.

    Args:
      name: the sweep's.
      study, evidence: what it says.
      shown: its figures.
      notes: what keeps its numbers from being compared.
    """
    sentences, needs = answer(study, evidence), recommend(study, evidence)
    there = {
        "needs": needs,
        "figures": shown,
        "comparisons": evidence.comparisons.rows,
        "collapse": evidence.collapse,
        "wrong": evidence.wrong_bound,
        "sums": evidence.sums,
        "datasets-each": evidence.metrics,
    }
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"marked": marked, "shown": _shown, "sort_key": sort_key}
    environment.tests |= {"numeric": is_numeric}
    manifest = study.manifest
    write = partial(
        environment.get_template("page.html").render,
        name=name,
        counted=counted(study),
        finished=(manifest.get("finished") or "")[:10],
        sections=[(key, title) for key, title in SECTIONS.items() if there.get(key, True)],
        style=_part("page.css"),
        script=_part("page.js"),
        grave=[*grave(study), *power(study)],
        answer=sentences,
        recommendations=needs,
        evidence=evidence,
        roles=study.roles,
        caveats=caveats(study, notes),
        commands=_commands(manifest),
        revision=manifest.get("revision"),
        sources={record.get("sources") for record in study.records},
        hours=_hours(manifest),
    )
    linked = write(pictures=_fitting(shown, 0))
    return write(pictures=_fitting(shown, MOST_BYTES - len(linked.encode())))


def marked(text: str) -> Markup:
    """Text with `code` and [links](#within) as HTML; all else is escaped."""
    found, end = [], 0
    for match in MARKS.finditer(text):
        found.append(escape(text[end : match.start()]))
        code, linked, anchor = match.groups()
        if anchor is None:
            found.append(Markup("<code>{}</code>").format(code))
        else:
            found.append(Markup('<a href="#{}">{}</a>').format(anchor, linked))
        end = match.end()
    return Markup("").join([*found, escape(text[end:])])


def _shown(entry: Entry, column: Column) -> Markup:
    """A table's entry: an interval on a line of its own, names broken at their underscores."""
    text = text_of(entry, column)
    if isinstance(entry, str):
        return Markup("_<wbr>").join(map(escape, text.split("_")))
    value, bracket, interval = text.partition(" [")
    small = Markup(" <small>[{}</small>").format(interval) if bracket else ""
    return escape(value) + small


def _part(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))


def counted(study: Study) -> str:
    """What was compared, in numbers."""
    if not study.strategies:
        return "No final cells yet"
    trained = [name for name in study.strategies if name not in BASELINES]
    groups = {name for r in study.rankings.values() for name in r.scores.groups}
    ranked = f" (ranked in {_many(len(groups), 'group', 'groups')})" if groups else ""
    roles = [
        _many(len(names), text, text.replace("dataset", "datasets")) + ranked * (role == "study")
        for role, text in {
            "study": "study dataset",
            "autoencoder": "autoencoder dataset",
            "wrong_bound": "dataset with a wrong bound",
            "coupled": "dataset whose features' sum is known",
        }.items()
        if (names := study.datasets(role))
    ]
    untrained = _many(
        len(study.strategies) - len(trained), "untrained baseline", "untrained baselines"
    )
    parts = [
        f"{_many(len(trained), 'trained strategy', 'trained strategies')} and {untrained} on "
        f"{', '.join(roles)}",
        *([f"backbones {' and '.join(study.backbones)}"] if study.backbones else []),
        _many(len({r["config"]["seed"] for r in finals(study)}), "seed", "seeds"),
    ]
    return ", ".join(parts)


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _commands(manifest: Mapping[str, Any]) -> list[str]:
    """Every sitting's command, each once."""
    commands = [sitting.get("command") for sitting in manifest.get("sittings", [])]
    return list(dict.fromkeys(command(found) for found in commands if found))


def _hours(manifest: Mapping[str, Any]) -> str:
    """How long it took on the devices that there were."""
    sittings = manifest.get("sittings", [])
    seconds = sum(
        sitting.get(key) or 0
        for sitting in sittings
        for key in ("compile_seconds", "train_seconds")
    )
    if not seconds:
        return ""
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{seconds / 60:.0f} minutes"
