"""What is derived from a sweep's records: summary, figures, tables and the page; or figures and
tables for a paper.

All of it can be deleted and redone.
"""

from collections.abc import Sequence
from pathlib import Path

from experiments import store
from experiments.analysis import evidence, statistics, study
from experiments.analysis.study import ALL, Choice, Study
from experiments.analysis.tables import Table, rows_to_csv, to_csv, to_latex
from experiments.cells import Record
from experiments.figures import captions, draw
from experiments.files import StorageError, refuse_link, write_made, write_text
from experiments.page import render, runs
from experiments.page.terminal import PAGE
from experiments.page.warnings import Caution, warnings
from experiments.usage import UsageError


def build(folder: Path, with_figures: bool = True, latex: bool = False) -> list[Record]:
    """Redo summary, figures, tables and page from the records; returns the records.

    Args:
      folder: the sweep's.
      with_figures: whether figures are drawn again.
      latex: whether tables are written as LaTeX too.

    Raises:
      UsageError: if the folder holds no sweep.
      StorageError: if it cannot be written to.
    """
    return _build(folder, store.read(folder), with_figures, latex)


def refresh(folder: Path, may_draw: bool = True) -> list[Record]:
    """As `build`; figures that are of these records already are not drawn again."""
    records = store.read(folder)
    drawn = captions.drawn(folder) == captions.digest(records)
    return _build(folder, records, may_draw and not drawn)


def read(folder: Path, records: list[Record], choice: Choice = ALL) -> Study:
    """The study of a folder's records, with what their arrays add."""
    return study.read(store.read_manifest(folder), records, choice, _arrays(folder, records))


def _arrays(folder: Path, records: list[Record]) -> runs.Arrays:
    """Those of finished final cells, by id."""
    final = [one for one in records if one.cell.phase == "final" and one.is_done]
    return store.arrays_of(folder, final)


def _build(
    folder: Path, records: list[Record], with_figures: bool, latex: bool = False
) -> list[Record]:
    arrays = _arrays(folder, records)
    found = study.read(store.read_manifest(folder), records, arrays=arrays)
    write_text(folder / "summary.csv", rows_to_csv(statistics.COLUMNS, found.rows))
    shown = evidence.gather(found)
    try:
        if with_figures:
            draw.draw_all(folder, found)
        _write_tables(folder / "tables", shown, latex)
        pictures = render.pictures(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be written to: {error}.") from error
    cautions = [*_of_files(folder, records), *warnings(found)]
    text = render.render(folder.resolve().name, found, shown, pictures, cautions, arrays)
    write_text(folder / PAGE, text)
    return records


def for_paper(
    folder: Path,
    out: Path | None = None,
    choice: Choice = ALL,
    form: str = "png",
    latex: bool = False,
) -> Path:
    """Draw figures and write tables, in place of those that were made there before; the sweep's
    own stay as they are.

    Args:
      folder: the sweep's.
      out: where to; by default `paper/` in the folder.
      choice: what is shown.
      form: of the figures, one of `captions.FORMS`.
      latex: whether tables are written as LaTeX too.

    Returns:
      where to.

    Raises:
      UsageError: if the folder holds no sweep, or `out` does; or nothing is in the choice.
      StorageError: if something cannot be read or written.
    """
    found = read(folder, store.read(folder), choice)
    target = out or folder / "paper"
    if target.resolve() == folder.resolve() or store.holds_sweep(target):
        raise UsageError(
            f"--out {target} is the folder of a sweep, whose figures and tables are of all its "
            "records: give another."
        )
    try:
        refuse_link(target)
        target.mkdir(parents=True, exist_ok=True)
        draw.draw_all(folder, found, target, form)
        _write_tables(target / "tables", evidence.gather(found), latex)
    except OSError as error:
        raise StorageError(f"{target} cannot be written to: {error}.") from error
    return target


def _write_tables(folder: Path, found: Sequence[Table], latex: bool) -> None:
    """Every table as CSV, and LaTeX if asked for, in place of those that were made before."""
    texts = {f"{table.name}.csv": to_csv(table) for table in found}
    if latex:
        texts |= {f"{table.name}.tex": to_latex(table) for table in found}
    write_made(folder, {name: text.encode(errors="replace") for name, text in texts.items()})


def _of_files(folder: Path, records: list[Record]) -> list[Caution]:
    found = []
    if store.has_damaged_manifest(folder):
        found.append(Caution("Not whole, and counts as missing", "manifest.json"))
    if cut := ", ".join(f"packed/{path.name}" for path in store.damaged(folder)):
        found.append(Caution("Files that are not whole; their cells count as missing", cut))
    if captions.drawn(folder) not in (None, captions.digest(records)):
        found.append(Caution("The figures are of other records; experiments.report redoes them"))
    return found
