"""A strict session: warnings are errors (pyproject.toml) and ranks do not promote silently."""

import os

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
os.environ["COLUMNS"] = "120"


@pytest.fixture
def x64():
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield
