"""What is said of a sweep's figures, kept beside them for a page that is made without drawing."""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Words:
    """What is said of a figure."""

    title: str
    caption: str  # what is shown, how it is read, what is left out
    alt: str  # its main numbers, in place of the image
    dataset: str = ""  # what it is of; empty: of the whole sweep
    warning: str = ""  # what it shows that a reader of the numbers must know


def keep(folder: Path, said: Iterable[tuple[str, Words]]) -> None:
    """Into `figures/captions.json`, by file, in order; nothing where there are no figures."""
    names = [field.name for field in fields(Words)]
    kept = {file: {name: getattr(words, name) for name in names} for file, words in said}
    if kept:
        (folder / "figures" / "captions.json").write_text(json.dumps(kept, indent=1))


def read(folder: Path) -> dict[str, Words]:
    """What was kept, by file; nothing where it cannot be read."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        kept = json.loads((folder / "figures" / "captions.json").read_bytes())
        return {file: Words(**words) for file, words in kept.items()}
    return {}
