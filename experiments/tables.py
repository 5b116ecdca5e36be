"""A table, and how it is written: CSV, LaTeX (booktabs), Markdown and, by `page`, HTML."""

import csv
import hashlib
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.statistics import Estimate

Entry = str | float | Estimate | None  # None or NaN: no such number
DASH = "–"


@dataclass(frozen=True)
class Column:
    """Of a table."""

    key: str  # in CSV files and anchors
    title: str  # for the reader
    percent: bool = False  # a share, shown in per cent
    signed: bool = False  # a difference: positive ones are shown with their sign
    digits: int = 3  # after the point; of a percentage one


@dataclass(frozen=True)
class Cited:
    """A number as its table shows it, and where."""

    text: str
    anchor: str


@dataclass(frozen=True)
class Table:
    """What is shown of a study, row by row."""

    name: str  # of its files, and of its place on the page
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]
    keys: int = 1  # leading columns that name a row
    notes: tuple[str, ...] = ()

    def find(self, row: str | Sequence[str], column: str) -> Cited | None:
        """A cell's text and anchor; None where there is no such row, column or number."""
        names = (row,) if isinstance(row, str) else tuple(row)
        for place, known in enumerate(self.columns):
            for entries in self.rows if known.key == column else ():
                if entries[: self.keys] == names and not is_missing(entries[place]):
                    return Cited(text_of(entries[place], known), self.anchor(entries, known))
        return None

    def anchor(self, row: tuple[Entry, ...], column: Column) -> str:
        """A cell's id, unique on the page."""
        return "-".join([self.name, *(slug(str(key)) for key in row[: self.keys]), column.key])


def slug(name: str) -> str:
    """A name as part of an id or a file's name; different names stay different."""
    safe = re.sub(r"[^A-Za-z0-9_.]", lambda found: f"-{ord(found[0]):x}-", name)
    return (
        safe if len(safe) <= 80 else f"{safe[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    )


def is_missing(entry: Entry) -> bool:
    value = entry.value if isinstance(entry, Estimate) else entry
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def text_of(entry: Entry, column: Column) -> str:
    """For the reader: `value [low, high]`, a share in per cent, or a dash."""
    if is_missing(entry):
        return DASH
    if isinstance(entry, str):
        return entry
    unit = " %" if column.percent else ""
    if not isinstance(entry, Estimate):
        return _number(entry, column) + unit
    value, low, high = (_number(x, column) for x in (entry.value, entry.low, entry.high))
    return value + unit + (f" [{low}, {high}]" if not math.isnan(entry.low) else "")


def _number(value: float, column: Column) -> str:
    if isinstance(value, int):
        return str(value)
    scaled, digits = (100 * value, 1) if column.percent else (value, column.digits)
    if value == 0 or not math.isfinite(value):
        text = f"{value:.0f}"  # of zeros, only the exact one is shown as 0
    elif abs(scaled) < 0.5 * 10**-digits:
        text = f"<{10**-digits:g}" if value > 0 else f">-{10**-digits:g}"
    else:
        text = f"{scaled:.{digits}f}" if abs(scaled) < 1e4 else f"{scaled:.3g}"
    sign = "+" if column.signed and value > 0 and text[0] != "<" else ""
    return sign + text.replace("-", "−")


def sort_key(entry: Entry) -> str:
    """What a column is sorted by; empty where there is nothing."""
    if is_missing(entry):
        return ""
    value = entry.value if isinstance(entry, Estimate) else entry
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def is_numeric(table: Table, place: int) -> bool:
    """Whether a column holds no text."""
    found = [row[place] for row in table.rows if not is_missing(row[place])]
    return bool(found) and not any(isinstance(entry, str) for entry in found)


def to_csv(table: Table) -> str:
    """Plain numbers, shares as such; an estimate's interval in columns of its own."""
    wide = [
        any(isinstance(row[place], Estimate) for row in table.rows)
        for place in range(len(table.columns))
    ]
    header = []
    for column, is_wide in zip(table.columns, wide, strict=True):
        ends = ("", "_low", "_high") if is_wide else ("",)
        header += [column.key + end for end in ends]

    def values(entry: Entry, is_wide: bool) -> list[str | float]:
        if is_wide:
            found = entry if isinstance(entry, Estimate) else Estimate(math.nan)
            numbers = (found.value, found.low, found.high)
            return ["" if math.isnan(number) else number for number in numbers]
        return ["" if entry is None or is_missing(entry) else entry]

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in table.rows:
        cells = [values(entry, is_wide) for entry, is_wide in zip(row, wide, strict=True)]
        writer.writerow([value for cell in cells for value in cell])
    return text.getvalue()


LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": "",
    "−": "$-$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "²": "$^2$",
    "³": "$^3$",
    "°": r"\textdegree{}",
    "×": r"$\times$",
    "√": r"$\surd$",
    "σ": r"$\sigma$",
    "…": r"\dots{}",
    "\n": " ",
    "\r": " ",
}


def to_latex(table: Table) -> str:
    """A longtable with rules of booktabs; notes follow it."""

    def row(texts: Sequence[str]) -> str:
        # A bracket at a row's start would be read as an argument of the \\ before it.
        return " & ".join(f"{{{escape(text)}}}" for text in texts) + r" \\"

    places = range(len(table.columns))
    layout = "".join("r" if is_numeric(table, place) else "l" for place in places)
    head = row([column.title for column in table.columns])
    body = [
        row([text_of(entry, column) for entry, column in zip(cells, table.columns, strict=True)])
        for cells in table.rows
    ]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs,longtable}",
            rf"\begin{{longtable}}{{{layout}}}",
            rf"\caption{{{escape(table.caption)}}}\label{{tab:{escape_label(table.name)}}} \\",
            r"\toprule",
            head,
            r"\midrule",
            r"\endfirsthead",
            r"\toprule",
            head,
            r"\midrule",
            r"\endhead",
            r"\bottomrule",
            r"\endfoot",
            *body,
            r"\end{longtable}",
            *(rf"\noindent {escape(note)}\par" for note in table.notes),
            "",
        ]
    )


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(LATEX.get(sign, sign) for sign in text)


def escape_label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]", "-", name)


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Texts as a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([text.replace("|", "\\|") for text in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"


def write(folder: Path, tables: Sequence[Table]) -> None:
    """Every table as CSV and LaTeX into `folder`, in place of those that were there."""
    folder.mkdir(exist_ok=True)
    for path in (*folder.glob("*.csv"), *folder.glob("*.tex")):
        path.unlink()
    for table in tables:
        (folder / f"{table.name}.csv").write_text(to_csv(table), encoding="utf-8")
        (folder / f"{table.name}.tex").write_text(to_latex(table), encoding="utf-8")
