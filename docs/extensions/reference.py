"""The reference: every public function of the library, by the module from which it is imported."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

MODULES = {
    "constraints": "Constraints",
    "sets": "Sets",
    "inverses": "Inverses",
    "starts": "Starts",
    "penalties": "Penalties",
    "metrics": "Metrics",
    "lstm": "LSTM",
    "autoencoder": "Autoencoder",
}


def public(module: ModuleType) -> dict[str, object]:
    """The functions and classes that a module offers, in the order of its source."""
    found = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    ]
    return {name: vars(module)[name] for name in found}


def pages() -> dict[str, str]:
    """The text of every page, by its name."""
    found = {}
    for name, title in MODULES.items():
        module = import_module(f"bounded.{name}")
        sources = dict.fromkeys(value.__module__ for value in public(module).values())
        inner = [one for one in sources if one.startswith(f"{module.__name__}.")]
        if inner:
            found |= {one.removeprefix("bounded."): _part(module, one) for one in inner}
            under = "".join(f"   {one.removeprefix('bounded.')}\n" for one in inner)
            toctree = f"\n.. toctree::\n   :maxdepth: 1\n\n{under}"
            found[name] = f"{_title(title)}.. automodule:: {module.__name__}\n{toctree}"
        else:
            found[name] = f"{_title(title)}.. automodule:: {module.__name__}\n\n{_members(module)}"
    return found


def _part(module: ModuleType, source: str) -> str:
    """What a module imports from one of its own: under the names that users write."""
    words = source.rpartition(".")[2].replace("_", " ").capitalize()
    return f"{_title(words)}.. automodule:: {source}\n\n{_members(module, source)}"


def _members(module: ModuleType, source: str | None = None) -> str:
    lines = [f".. currentmodule:: {module.__name__}\n"]
    for name, value in public(module).items():
        if source in (None, value.__module__):
            kind = "class" if inspect.isclass(value) else "function"
            lines.append(f".. auto{kind}:: {name}\n" + "   :members:\n" * (kind == "class"))
    return "\n".join(lines)


def _title(words: str) -> str:
    return f"{words}\n{'=' * len(words)}\n\n"


def names() -> Iterator[str]:
    """Every public name of the library that a page documents, with its module."""
    for name in MODULES:
        module = import_module(f"bounded.{name}")
        yield from (f"{name}.{one}" for one in public(module))
