"""docs/architecture.md says what is: its drawing and its table are held to the imports."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
SHARED = {"cells", "console", "usage"}
DEEPEST = 10


def modules():
    """Every module's file, by name."""
    files = [path for top in ("bounded", "experiments") for path in (ROOT / top).rglob("*.py")]
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    return dict(zip((name.removesuffix(".__init__") for name in names), files, strict=True))


MODULES = modules()


@cache
def imports(name):
    """The modules of this project that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one if one in MODULES else node.module for one in full}
    return {one for one in found if one in MODULES and one != name}


def wing(name):
    top, *rest = name.split(".")
    return rest[0] if top == "experiments" and rest else top


def wings():
    """What each wing imports of others."""
    found = {}
    for name in MODULES:
        others = {wing(one) for one in imports(name)} - {wing(name)}
        found[wing(name)] = found.get(wing(name), set()) | others
    del found["experiments"]
    return found


def test_the_drawing_has_every_wing_and_imports_go_down():
    drawing = re.search(r"```text\n(.*?)```", TEXT, re.DOTALL)[1]
    floors = {
        name: floor
        for floor, line in enumerate(drawing.splitlines())
        for name in re.findall(r"[a-z]+", line)
    }
    found = wings()
    assert floors.keys() == found.keys()
    for name, others in found.items():
        for other in others:
            assert floors[name] < floors[other], f"{name} imports {other}"


def test_the_table_has_what_each_wing_imports():
    found = wings()
    rows = re.findall(r"^\| (`[^|]*`) \| [^|]* \| ([^|]*) ?\|$", TEXT, re.MULTILINE)
    told = {
        name: set(re.findall(r"[a-z]+", others))
        for names, others in rows
        for name in re.findall(r"`([a-z]+)/?`", names)
    }
    commands = {"sweep", "report", "compare", "diagnose", "archive", "benchmark", "reproduce"}
    assert told.keys() == found.keys() - SHARED - {"bounded"}
    for name in told.keys() - commands:
        assert told[name] == found[name] - SHARED, name


def test_nothing_imports_a_command_and_the_library_imports_no_study():
    names = ("sweep", "report", "compare", "diagnose", "archive", "benchmark")
    commands = {f"experiments.{name}" for name in names}
    for name in MODULES:
        assert not imports(name) & (commands | {"experiments.reproduce"}), name
        if name.startswith("bounded"):
            assert all(one.startswith("bounded") for one in imports(name)), name


def test_imports_are_shallow_and_have_no_circle():
    def depth(name, above=()):
        assert name not in above, f"a circle: {' -> '.join((*above, name))}"
        return 1 + max((depth(one, (*above, name)) for one in imports(name)), default=0)

    deepest = max(MODULES, key=depth)
    assert depth(deepest) <= DEEPEST, deepest


def test_every_place_that_it_names_is_there():
    for path in re.findall(r"`((?:bounded|experiments|tests)/[\w/.]+)`", TEXT):
        assert (ROOT / path).exists(), path
    for name, path in re.findall(r"`([\w.]+)` in `((?:bounded|experiments)/[\w/.]+)`", TEXT):
        words = name.split(".")[-1]
        assert re.search(rf"(def|class) {words}\b|^{words} =", (ROOT / path).read_text(), re.M), (
            name
        )
