"""The README's own words, tried."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp

from bounded import constraints

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_five_lines_of_the_readme_run():
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[0]
    names: dict = {}
    exec(code, names)
    weights = {"hidden": jnp.ones((3, 4)), "out": jnp.ones((4, 3))}
    loss, gradient = jax.value_and_grad(names["loss"])(weights, jnp.ones((2, 3)), jnp.zeros((2, 3)))
    assert jnp.isfinite(loss)
    assert (gradient["out"] != 0).all()


def test_every_constraint_is_in_the_readme():
    public = [name for name, value in vars(constraints).items() if callable(value)]
    for name in public:
        if not name.startswith("_") and name.islower():
            assert f"`{name}" in README, name
