"""What every command prints with, and how it reads lists of names."""

import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from rich.console import Console

STEERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class _Output:
    """A stream that is done without once it cannot be written to: its reader is gone, or the disk
    under it is full. What is said does not decide what is done."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        with self._done_without():
            try:
                self._stream.write(text)
            except UnicodeEncodeError:  # where `prepare_output` was not called
                self._stream.write(text.encode("ascii", "backslashreplace").decode())
        return len(text)

    def flush(self) -> None:
        with self._done_without():
            self._stream.flush()

    @contextmanager
    def _done_without(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # In its place, for what is still to be written when Python ends.
            with suppress(OSError, AttributeError):  # of a stream that is no file
                os.dup2(_nowhere(), self._stream.fileno())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _nowhere() -> int:
    return os.open(os.devnull, os.O_WRONLY)


def prepare_output() -> None:
    """From now on nothing that is printed can end the process: not where output is closed or full,
    nor where its encoding lacks a letter."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or os.fdopen(_nowhere(), "w")
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, _Output(stream))


def make_console() -> Console:
    """The terminal or the notebook; where there is neither (a file, a pipe), wide enough for the
    tables. Output that cannot be written ends nothing."""
    stream = sys.stdout or io.StringIO()
    return Console(file=_Output(stream), width=None if stream.isatty() else 120)


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


def counted(count: int, noun: str) -> str:
    """So many of something: `1 seed`, `2 seeds`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def trimmed(text: str, most: int = 60) -> str:
    """Text that somebody else wrote, on one line of so many characters."""
    line = printable(" ".join(text[: 4 * most].split()))
    return line if len(line) <= most else line[: most - 1] + "…"


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list; commas within parentheses belong to a name."""
    parts = re.split(r",(?![^(]*\))", text)
    return tuple(part.strip() for part in parts if part.strip())
