"""The test files that touch what differs from a revision: `python -m tests.changed [REVISION]`.

A test file touches itself, the file that it mirrors, the modules that it imports and the other
files that it names.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def changed(revision: str = "HEAD") -> list[Path]:
    """Files that differ from a revision, new ones included."""
    listed = (
        ["git", "diff", "--name-only", revision],
        ["git", "ls-files", "-o", "--exclude-standard"],
    )
    return [Path(line) for command in listed for line in _output(command).splitlines()]


def _output(command: list[str]) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def touching(paths: Iterable[Path]) -> list[Path]:
    """The test files that touch any of these."""
    files = set(paths)
    tests = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    return [test for test in tests if files & {test, *_mirrored(test)} or _uses(test, files)]


def _mirrored(test: Path) -> list[Path]:
    """`tests/a/test_b.py` mirrors `a/b.py` and `a/_b.py`."""
    name = test.name.removeprefix("test_")
    return [Path(*test.parent.parts[1:], place) for place in (name, f"_{name}")]


def _uses(test: Path, files: set[Path]) -> bool:
    text = (ROOT / test).read_text(encoding="utf-8")
    imported = set(_imports(text))
    return any(
        ".".join(file.with_suffix("").parts) in imported
        if file.suffix == ".py"
        else file.name in text
        for file in files
    )


def _imports(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


if __name__ == "__main__":
    print(*touching(changed(*sys.argv[1:])), sep="\n")
