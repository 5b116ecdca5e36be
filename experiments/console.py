"""What every command prints with, and how it reads lists of names."""

import re
import sys

from rich.console import Console


def make_console() -> Console:
    """The terminal; where there is none (a file, a pipe), wide enough for the tables."""
    return Console(width=None if sys.stdout.isatty() else 120)


def say(console: Console, text: str) -> None:
    """Print a line as it is: no markup, no colours, no line breaks."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list; commas within parentheses belong to a name."""
    parts = re.split(r",(?![^(]*\))", text)
    return tuple(part.strip() for part in parts if part.strip())
