"""Every public function of the library shows an example, and the examples run; maps onto sets say
what they cost."""

import doctest
import inspect
import re
from importlib import import_module
from pkgutil import walk_packages

import jax
import jax.numpy as jnp
import pytest

import bounded
from bounded import sets
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
MODULES = ["bounded", *(found.name for found in walk_packages(bounded.__path__, "bounded."))]
SHOWN = [
    "bounded.constraints",
    "bounded.inverses",
    "bounded.lstm",
    "bounded.metrics",
    "bounded.penalties",
    "bounded.sets",
    "bounded.starts",
]


# Values of the other functions that are in `SHOWN`: in tests of their modules' names.
@pytest.mark.parametrize(
    "name", sampled(MODULES, ("bounded.constraints", "bounded.lstm", "bounded.sets"))
)
def test_the_examples_run(name):
    module = import_module(name)
    needs = "examples need `import jax" in module.__doc__
    found = doctest.testmod(
        module,
        extraglobs={"jax": jax, "jnp": jnp} if needs else {},
        optionflags=doctest.NORMALIZE_WHITESPACE,
    )
    assert found.failed == 0


@pytest.mark.parametrize("name", SHOWN)
def test_every_public_function_has_an_example(name):
    module = import_module(name)
    functions = {
        key: value
        for key, value in vars(module).items()
        if (inspect.isfunction(value) or key in getattr(module, "__all__", ()))
        and value.__module__.startswith(name)
        and key in getattr(module, "__all__", [key])
        and not key.startswith("_")
    }
    assert functions
    for key, function in functions.items():
        assert "Example:\n" in function.__doc__, key
        assert ">>> " in function.__doc__, key


def test_every_map_onto_a_set_states_its_cost():
    """In the numbers of outputs and rows, in a paragraph of its own."""
    maps = {name for name in sets.__all__ if name != "Rows" and not name.endswith("_rows")}
    assert len(maps) > 12
    for name in maps:
        paragraphs = inspect.getdoc(getattr(sets, name)).split("\n\n")
        (cost,) = (one for one in paragraphs if one.startswith("Cost"))
        assert re.search(r"\bO\([^)]*[mn]", cost), name
