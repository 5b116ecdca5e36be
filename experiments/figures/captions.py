"""What is said of a sweep's figures, kept beside them for a page that is made without drawing."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from experiments.cells import Record
from experiments.files import forget, is_bare, read_json, write_text
from experiments.shapes import CAPTIONS, misfit


@dataclass(frozen=True, kw_only=True)
class Words:
    """What is said of a figure."""

    title: str
    caption: str  # what is shown, how it is read, what is left out
    dataset: str = ""  # what it is of; empty: of the whole sweep


FORMS = "png", "pdf", "svg"  # of a figure's file
KEYS = [field.name for field in fields(Words)]


def keep(folder: Path, said: Iterable[tuple[str, Words]], records: Iterable[Record]) -> None:
    """Into `figures/captions.json`, by file, in order, with the records that were drawn. Figures
    kept before that are not among them are deleted."""
    before = _kept(folder)["figures"]
    kept = {file: {name: getattr(words, name) for name in KEYS} for file, words in said}
    forget(folder / "figures", before.keys() - kept.keys(), tuple(f".{form}" for form in FORMS))
    path = folder / "figures" / "captions.json"
    if kept:
        write_text(path, json.dumps({"records": digest(records), "figures": kept}, indent=1))
    else:
        forget(path.parent, [path.name], (".json",))


def read(folder: Path) -> dict[str, Words]:
    """What was kept, by file. Older files hold more of each."""
    return {
        file: Words(**{name: said[name] for name in KEYS if name in said})
        for file, said in _kept(folder)["figures"].items()
        if is_bare(file) and {"title", "caption"} <= said.keys()
    }


def drawn(folder: Path) -> str | None:
    """The digest of the records that the figures are of, if any were kept."""
    return _kept(folder)["records"]


def digest(records: Iterable[Record]) -> str:
    """Of all that figures are drawn from."""
    found = sorted(
        (one.id, one.status, json.dumps(dict(one.metrics), sort_keys=True)) for one in records
    )
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def _kept(folder: Path) -> dict[str, Any]:
    """Nothing where there is nothing whole, or a link leads elsewhere."""
    nothing: dict[str, Any] = {"records": None, "figures": {}}
    path = folder / "figures" / "captions.json"
    try:
        found = {} if os.path.islink(path.parent) else read_json(path)
    except (FileNotFoundError, ValueError):
        return nothing
    return nothing if misfit(found, CAPTIONS) else nothing | found
