"""A table, and how it is written: CSV, LaTeX (booktabs), Markdown and, by `page`, HTML."""

import csv
import hashlib
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from experiments.analysis.statistics import Estimate
from experiments.console import printable

Entry = str | float | Estimate | None  # None or NaN: no such number
Entries = Mapping[str, Entry]  # of a column, by strategy
DASH = "–"
FORMULA = tuple("=+-@\t＝＋－＠")  # what a spreadsheet takes for one begins so


@dataclass(frozen=True)
class Column:
    """Of a table."""

    key: str  # in CSV files and anchors
    heading: str = ""  # for the reader, where the key does not say it
    percent: bool = False  # a share, shown in per cent
    signed: bool = False  # a difference: positive ones are shown with their sign
    digits: int = 3  # after the point; of a percentage one

    @property
    def title(self) -> str:
        return self.heading or self.key.replace("_", " ")


STRATEGY = Column("strategy")
GUARANTEE = Column("guarantee", "bound holds")
VIOLATION = Column("violation_rate", "violation", percent=True)


@dataclass(frozen=True)
class Table:
    """What is shown of a study, row by row."""

    name: str  # of its files, and of its place on the page
    section: str  # of the page
    caption: str
    columns: Sequence[Column]
    rows: Sequence[tuple[Entry, ...]]
    keys: int = 1  # leading columns that name a row
    notes: Sequence[str] = ()
    dataset: str = ""  # what it is of; empty: of several

    def anchor(self, row: tuple[Entry, ...]) -> str:
        """A row's id, unique on the page; a cell's ends with its column's key."""
        return "-".join([self.name, *(slug(str(key)) for key in row[: self.keys])])


def by_strategy(
    name: str,
    section: str,
    caption: str,
    strategies: Iterable[str],
    columns: Mapping[Column, Entries],
    **more: Any,
) -> Table:
    """A table with a row a strategy, from what each column holds."""
    rows = [(one, *(entries.get(one) for entries in columns.values())) for one in strategies]
    return Table(name, section, caption, (STRATEGY, *columns), rows, **more)


def by_backbone(
    backbones: Iterable[str], columns: Mapping[Column, Callable[[str], Entries]]
) -> dict[Column, Entries]:
    """Columns for `by_strategy`: each one on every backbone, of which it is a function."""
    return {
        replace(column, key=f"{column.key}_{of}", heading=f"{column.title}, {of}"): entries(of)
        for column, entries in columns.items()
        for of in backbones
    }


def slug(name: str) -> str:
    """A name as part of an id or a file's name; different names stay different."""
    safe = re.sub(r"[^A-Za-z0-9_.]", lambda found: f"-{ord(found[0]):x}-", name)
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()
    return safe if len(safe) <= 80 else f"{safe[:60]}-{digest[:12]}"


def plain(entry: Entry) -> str | float | None:
    """An entry without its interval."""
    return entry.value if isinstance(entry, Estimate) else entry


def is_missing(entry: Entry) -> bool:
    value = plain(entry)
    return value is None or value == "" or value != value  # NaN differs from itself


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
    value = "" if is_missing(entry) else plain(entry)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def is_numeric(table: Table, place: int) -> bool:
    """Whether a column holds no text."""
    found = [row[place] for row in table.rows if not is_missing(row[place])]
    return bool(found) and not any(isinstance(entry, str) for entry in found)


def to_csv(table: Table) -> str:
    """Plain numbers, shares as such; an estimate's interval in columns of its own."""
    header, columns = [], []
    for place, column in enumerate(table.columns):
        entries = [row[place] for row in table.rows]
        header.append(column.key)
        columns.append([plain(entry) for entry in entries])
        if any(isinstance(entry, Estimate) for entry in entries):
            for end in ("low", "high"):
                header.append(f"{column.key}_{end}")
                columns.append([getattr(entry, end, None) for entry in entries])
    return _csv(header, zip(*columns, strict=True))


def rows_to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows by column; what there is none of is an empty field."""
    return _csv(columns, ([row[column] for column in columns] for row in rows))


def _csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(no_formula, header))
    for row in rows:
        writer.writerow(["" if is_missing(value) else no_formula(value) for value in row])
    return text.getvalue()


def no_formula(entry: Any) -> Any:
    """Text that a spreadsheet would run gets the quote before it that tells it not to."""
    if not isinstance(entry, str):
        return entry
    return f"'{printable(entry)}" if entry.startswith(FORMULA) else printable(entry)


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
    "²": "$^2$",
    "³": "$^3$",
    "°": r"\textdegree{}",
    "×": r"$\times$",
    "√": r"$\surd$",
    **dict.fromkeys("\n\r", " "),
}


def to_latex(table: Table) -> str:
    """A longtable with rules of booktabs; notes follow it."""

    def row(texts: Iterable[str]) -> str:
        # A bracket at a row's start would be read as an argument of the \\ before it.
        return " & ".join(f"{{{escape(text)}}}" for text in texts) + r" \\"

    layout = "".join("r" if is_numeric(table, n) else "l" for n in range(len(table.columns)))
    head = [r"\toprule", row(column.title for column in table.columns), r"\midrule"]
    lines = [
        r"% needs \usepackage{booktabs,longtable}",
        rf"\begin{{longtable}}{{{layout}}}",
        rf"\caption{{{escape(table.caption)}}}\label{{tab:{table.name.replace('_', '-')}}} \\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *(row(map(text_of, entries, table.columns)) for entries in table.rows),
        r"\end{longtable}",
        *(rf"\noindent {escape(note)}\par" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """Text as LaTeX prints it."""
    return printable(text).translate(str.maketrans(LATEX))


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Texts as a table of Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([text.replace("|", "\\|") for text in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells) + "\n"
