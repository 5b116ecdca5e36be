"""Docstrings are Markdown where they hold tables, links and code; Sphinx reads reStructuredText."""

import re

TABLE = re.compile(r"(?:^\|.*\|\n)+", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\((https?://[^)]+)\)")
BARS = re.compile(r"(?<![`\w])\|(\w+)\|")  # of an absolute value, outside of code
CODE = re.compile(r":\n\n(?=    (?!>>>)\S)")


def to_rest(text: str) -> str:
    """A docstring's Markdown as reStructuredText."""
    text = TABLE.sub(lambda found: _table(found[0]), text)
    text = BARS.sub(r"\\|\1\\|", text)
    text = LINK.sub(r"`\1 <\2>`__", text)
    return CODE.sub("::\n\n", text)


def cells(row: str) -> list[str]:
    """Of a row of a Markdown table; a bar within one is written `\\|`."""
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def _table(text: str) -> str:
    head, _, *rows = map(cells, text.splitlines())
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (head, *rows):
        lines += [f"   {'-' if index else '* -'} {cell}" for index, cell in enumerate(row)]
    lines = [
        line.replace("   - ", "     - ", 1) if line.startswith("   - ") else line for line in lines
    ]
    return "\n".join(lines) + "\n\n"


def _process(app, what, name, obj, options, lines):
    lines[:] = to_rest("\n".join(lines)).splitlines()


def setup(app):
    app.connect("autodoc-process-docstring", _process, priority=100)  # before napoleon
    return {"parallel_read_safe": True}
