"""What every command prints with, and how it reads lists of names."""

import re
import sys
import warnings

from rich.console import Console

STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def make_console() -> Console:
    """The terminal; where there is none (a file, a pipe), wide enough for the tables."""
    return Console(width=None if sys.stdout.isatty() else 120)


def say(console: Console, text: str) -> None:
    """Print a line as it is: no markup, no colours, no line breaks."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def complain(text: object) -> None:
    """Print a line to where errors go."""
    print(printable(str(text)), file=sys.stderr)


def say_warnings() -> None:
    """From now on a warning is a line of its own."""
    warnings.formatwarning = lambda message, *_: f"warning: {printable(str(message))}\n"


def printable(text: str) -> str:
    """Text with what steers a terminal or turns the direction of writing as a code: a name or an
    error may hold anything."""
    if text.isprintable():
        return text
    return STEERS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list; commas within parentheses belong to a name."""
    parts = re.split(r",(?![^(]*\))", text)
    return tuple(part.strip() for part in parts if part.strip())
