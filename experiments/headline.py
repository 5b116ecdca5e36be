"""The README's headline, from a sweep's records: `python -m experiments.headline results/NAME`.

Writes what stands between the two marks in README.md: what was compared, the answer, a figure, what
to take for which need and the ranking. A number is linked to its line of `tables/*.csv`.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from experiments import captions, evidence, store, study
from experiments.caveats import grave, power
from experiments.choices import UsageError
from experiments.evidence import Evidence
from experiments.findings import answer
from experiments.needs import recommend
from experiments.page import counted
from experiments.tables import Table, markdown, text_of

README = Path("README.md")
MARKS = "<!-- headline -->", "<!-- end of the headline -->"
FIGURE = "skill_violation.png"
# Columns of the ranking.
SHOWN = ("strategy", "guarantee", "skill", "failing", "violation_rate", "blocked")
LINK = re.compile(r"\]\(#([^)\s]*)\)")


def text(folder: Path) -> str:
    """A sweep's headline as Markdown, its links to the folder as it is given."""
    records, manifest = store.load(folder), store.read_manifest(folder)
    found = study.read(manifest, records)
    shown = evidence.gather(found)
    parts = filter(None, map(str.strip, _parts(folder, found, shown)))
    return _linked("\n\n".join(parts), shown, folder)


def _parts(folder: Path, found: study.Study, shown: Evidence) -> Iterator[str]:
    yield f"{counted(found)}."
    yield from (f"**{caveat}**" for caveat in (*grave(found), *power(found)))
    yield "\n".join(f"{place}. {said}" for place, said in enumerate(answer(found, shown), 1))
    if words := captions.read(folder).get(FIGURE):
        yield f"![{words.alt}]({quote((folder / 'figures' / FIGURE).as_posix())})"
        yield f"*{words.caption}*"
    needs = [(one.need, one.take, one.reason) for one in recommend(found, shown)]
    if needs:
        yield markdown(("need", "take", "because"), needs)
    if shown.headline.rows:
        yield _ranking(shown.headline)


def _ranking(table: Table) -> str:
    places = [i for i, column in enumerate(table.columns) if column.key.startswith(SHOWN)]
    rows = [
        [f"`{row[0]}`", *(text_of(row[place], table.columns[place]) for place in places[1:])]
        for row in table.rows
    ]
    return markdown([table.columns[place].title for place in places], rows)


def _linked(said: str, shown: Evidence, folder: Path) -> str:
    """Links within the page as links to lines of the tables' files."""
    place_of = {
        table.anchor(
            row, column
        ): f"{quote((folder / 'tables').as_posix())}/{table.name}.csv#L{line}"
        for table in shown.tables
        for line, row in enumerate(table.rows, 2)
        for column in table.columns
    }
    return LINK.sub(lambda found: f"]({place_of[found[1]]})", said)


def put(readme: str, headline: str) -> str:
    """A README with this headline between its marks.

    Raises:
      UsageError: if it does not have both marks.
    """
    begin, end = MARKS
    before, _, rest = readme.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise UsageError(
            f"{README} has no lines '{begin}' and '{end}' to put the headline between."
        )
    return f"{before}{begin}\n\n{headline}\n\n{end}{after}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m experiments.headline", description=__doc__)
    parser.add_argument("folder", type=Path, help="a sweep's folder, such as results/reference")
    folder = parser.parse_args(arguments).folder
    try:
        README.write_text(put(README.read_text(encoding="utf-8"), text(folder)), "utf-8")
    except (UsageError, store.StorageError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
