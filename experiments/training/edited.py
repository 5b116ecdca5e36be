"""Modules of the user's whose files were edited since this process imported them.

Python imports a module once in a process: what is on disk by now it does not know. A notebook would
go on with the old functions, and take the records of these for those of the new ones.
"""

import ast
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

HEADER = 16  # bytes of a compiled file, with time and size of what it was compiled from
PROJECT = ("bounded", "experiments")  # which have fingerprints of their own
Stamp = tuple[int, int] | None
_stamps: dict[str, tuple[object, Stamp]] = {}  # by module: how it was imported, its file then


def edited(modules: Iterable[str]) -> list[Path]:
    """The files of modules, and of what they import, that are not what was imported.

    Of a module that was imported before it is asked of here, its compiled file tells, where Python
    writes one. After `importlib.reload` a module is what its file is.
    """
    found = dict.fromkeys(module for name in modules for module in _with_imports(name))
    return [Path(str(module.__file__)) for module in found if _is_edited(module)]


def _with_imports(name: str) -> Iterator[ModuleType]:
    """A module, if it is the user's, and those that it imports."""
    todo, seen = [name], set()
    while todo:
        module = sys.modules.get(name := todo.pop())
        if name in seen or module is None or not _is_users(module):
            continue
        seen.add(name)
        todo += [name.rpartition(".")[0], *_imports(module)]
        yield module


def _is_users(module: ModuleType) -> bool:
    """Whether it was read from a file that is part of neither this project nor an installation."""
    file = getattr(module, "__file__", None) or ""
    installed = any(Path(file).is_relative_to(prefix) for prefix in {sys.prefix, sys.base_prefix})
    known = module.__name__.partition(".")[0] in (*PROJECT, "__main__")
    return file.endswith(".py") and not installed and not known and module.__spec__ is not None


def _imports(module: ModuleType) -> Iterator[str]:
    """The names of what a module imports, perhaps of modules."""
    try:
        tree = ast.parse(Path(str(module.__file__)).read_bytes())
    except (OSError, SyntaxError, ValueError):  # edited to something that cannot be read
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = str(module.__package__).split(".")[: 1 - node.level or None]
            base = ".".join([*above, node.module or ""] if node.level else [node.module or ""])
            yield base.rstrip(".")
            yield from (f"{base.rstrip('.')}.{alias.name}" for alias in node.names)


def _is_edited(module: ModuleType) -> bool:
    now = _stamp(str(module.__file__))
    if _stamps.get(module.__name__, (None, None))[0] is not module.__spec__:
        then = None if _is_compiled_of_another(module) else now
        _stamps[module.__name__] = module.__spec__, then
    return _stamps[module.__name__][1] != now


def _stamp(file: str) -> Stamp:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _is_compiled_of_another(module: ModuleType) -> bool:
    """Whether the compiled file, which an import writes anew, is of another version."""
    cached, now = getattr(module.__spec__, "cached", None), _stamp(str(module.__file__))
    if not cached or not now or sys.dont_write_bytecode or not os.access(cached, os.W_OK):
        return False
    header = Path(cached).read_bytes()[:HEADER]
    if any(header[4:8]):  # it goes by a hash
        return False
    of = [int.from_bytes(header[start : start + 4], "little") for start in (8, 12)]
    return of != [now[0] // 10**9 % 2**32, now[1] % 2**32]
