"""Gathers what the site shows of other folders, and mends links between them.

A link in a Markdown file is written for its own place in the repository. On the site, one to a file
that is a page leads to the page, one to another file to a copy.
"""

import os
import re
from pathlib import Path

from extensions import gallery, reference

DOCS = Path(__file__).parent.parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"
ELSEWHERE = {
    "contributing": ROOT / "CONTRIBUTING.md",
    "changelog": ROOT / "CHANGELOG.md",
    "data": ROOT / "experiments" / "data" / "README.md",
    **{path.stem: path for path in (ROOT / "results" / "reproduced").glob("*.md")},
    **{path.stem: path for path in (ROOT / "examples").glob("*.py")},
}
LINK = re.compile(r"(!?\[[^\]]*\])\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?( \"[^\"]*\")?\)")


def relinked(text: str, origin: Path, page: Path) -> str:
    """The text of a file as that of a page which may lie elsewhere."""
    shown = {path: GENERATED / f"{name}{path.suffix}" for name, path in ELSEWHERE.items()} | {
        ROOT / "bounded" / f"{name}.py": GENERATED / "reference" / f"{name}.rst"
        for name in reference.MODULES
    }

    def link(found: re.Match) -> str:
        words, place, fragment, title = found.groups("")
        target = (origin.parent / place).resolve()
        is_page = target in shown or (target.suffix == ".md" and target.is_relative_to(DOCS))
        path = os.path.relpath(shown.get(target, target), page.parent)
        if is_page:
            return f"{words}({path}{fragment}{title})"
        scheme = "" if words.startswith("!") else "path:"
        return f"{words}({scheme}{path}{title})"

    return LINK.sub(link, text)


def _write(name: str, text: str) -> None:
    """If it is new: what is as it was is not read again."""
    path = GENERATED / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def _gather(app):
    for name, path in ELSEWHERE.items():
        page = f"{name}{path.suffix}"
        _write(page, relinked(path.read_text(encoding="utf-8"), path, GENERATED / page))
    for name, text in reference.pages().items():
        _write(f"reference/{name}.rst", text)
    _write("gallery.md", gallery.page(GENERATED / "shapes"))


def _relink(app, name, source):
    page = Path(app.env.doc2path(name))
    if page.suffix == ".md" and not page.is_relative_to(GENERATED):
        source[0] = relinked(source[0], page, page)
    if name == "index" and not (DOCS / "study.md").exists():  # which the next run of it brings
        source[0] = source[0].replace("\nstudy\n", "\n")


def setup(app):
    app.connect("builder-inited", _gather)
    app.connect("source-read", _relink)
    return {"parallel_read_safe": True}
