"""The fixture `unoptimised` reaches what is compiled: else tests would only take longer."""

import random

import jax
import pytest

HITS = []
jax.monitoring.register_event_listener(
    lambda event, **_: HITS.append(event) if event.endswith("cache_hits") else None
)


def is_kept(factor):
    """Whether this program was compiled before with these options."""
    before = len(HITS)
    jax.clear_caches()
    jax.block_until_ready(jax.jit(lambda x: x * factor)(1.0))
    return len(HITS) > before


@pytest.fixture
def factor():
    """A program that no session compiled; times are alike for two minutes, in single precision."""
    return random.random()


def test_programs_are_compiled_with_other_options(request, factor):
    assert not is_kept(factor)
    assert is_kept(factor)
    request.getfixturevalue("unoptimised")
    assert not is_kept(factor)
    assert is_kept(factor)
