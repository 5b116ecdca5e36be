"""Where a network begins: by hand, and on the study's datasets."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import constraints, inverses, sets, starts
from experiments.data.datasets import load
from experiments.training.strategies import TRAINED
from experiments.training.strategy_rows import select_bounds
from tests.bounded.maps import TELLING
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
TARGETS = np.float32([[[0.2, 1], [0.4, 2]], [[0.6, 3], [0.8, 6]]])
CLIPS = ("clip", "straight_through_clip", "leaky_clip")
# Compiled whole, which takes less than step by step.
constant = jax.jit(starts.constant, static_argnums=0, static_argnames=("inverse", "margin"))


@pytest.mark.parametrize("name", ["identity", *CLIPS])
def test_clips_begin_at_the_mean_target(name):
    found = constant(getattr(constraints, name), TARGETS, 0.0, 9.0)
    np.testing.assert_allclose(found, [0.5, 3.0], rtol=1e-6)


def test_others_begin_at_the_mean_of_their_inverse():
    warm = partial(constraints.smooth_clip, temperature=0.5)
    found = constant(warm, TARGETS, upper=9.0)
    inverse = jax.jit(partial(inverses.smooth_clip, temperature=0.5))
    expected = np.mean(inverse(TARGETS, upper=9.0), (0, 1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.shape == (2,)


def test_bounds_of_every_shape_and_jit():
    upper = 1 + TARGETS
    found = constant(constraints.exp_offset, TARGETS, upper=upper)
    np.testing.assert_allclose(found, [0, 0], atol=1e-6)
    features = constant(constraints.exp_offset, TARGETS, upper=np.float32([2, 8]))
    assert np.isfinite(features).all()


def test_targets_near_a_bound_that_is_never_reached_are_taken_at_the_margin():
    targets = np.float32([[1], [1], [3]])
    room = 0.1 * np.std(targets)
    found = constant(constraints.exp_offset, targets, lower=1.0)
    np.testing.assert_allclose(found, -np.log([room, room, 2.0]).mean(), rtol=1e-6)
    narrow = constant(constraints.sigmoid_interval, targets, 1.0, 1 + 1e-3)
    np.testing.assert_allclose(narrow, np.log(9) / 3 * (1 - 2), rtol=1e-3)
    finer = constant(constraints.exp_offset, targets, lower=1.0, margin=1e-3)
    assert finer > found


def test_what_is_left_out():
    targets = np.float32([[1, np.nan], [np.inf, 2], [5, 4], [7, np.nan]])
    where = np.array([True, True, True, False])[:, None]
    found = constant(constraints.clip, targets, lower=0.0, where=where)
    np.testing.assert_array_equal(found, [3.0, 3.0])
    upper = np.float32([[2], [np.nan], [0]])
    found = constant(constraints.tanh_interval, np.float32([[1], [1], [0]]), 0.0, upper)
    np.testing.assert_allclose(found, [0], atol=1e-6)
    nothing = constant(constraints.clip, np.full((3, 1), np.nan, np.float32), lower=0.0)
    np.testing.assert_array_equal(nothing, [0])


def test_a_constraint_of_ones_own():
    def cubed(raw, lower, upper):
        return jnp.minimum(raw**3, upper)

    found = constant(
        cubed, np.float32([[1], [8]]), upper=99.0, inverse=lambda y, lower, upper: jnp.cbrt(y)
    )
    np.testing.assert_allclose(found, [1.5], rtol=1e-6)
    with pytest.raises(TypeError, match=r"knows no inverse of .*cubed.*inverse=\.\.\."):
        starts.constant(cubed, TARGETS)
    with pytest.raises(TypeError, match="knows no inverse of .*sigmoid_interval"):
        starts.constant(inverses.sigmoid_interval, np.full((2, 1), 0.5), 0.0, 1.0)
    with pytest.raises(TypeError, match="knows no inverse of .*sequence_maximum"):
        starts.constant(constraints.sequence_maximum, TARGETS)


@pytest.mark.parametrize(
    ("name", "equality"),
    sampled(
        [
            (name, equality)
            for name in ("budget_softmax", "budget_sequential")
            for equality in (False, True)
        ],
        [("budget_softmax", False), ("budget_sequential", True)],
    ),
)
def test_budgets_begin_where_they_give_the_targets(name, equality):
    targets = np.tile(np.float32([1, 2, 0.5]), (6, 4, 1))
    total = np.full((6, 4), 3.5 if equality else 5.0, np.float32)
    budget = partial(getattr(sets, name), total=total, equality=equality)
    raw = constant(budget, targets)
    again = jax.jit(budget)(np.broadcast_to(raw, targets.shape))
    np.testing.assert_allclose(again, targets, rtol=1e-5)
    zero = np.tile(np.float32([0, 3.5, 0.5]), (6, 4, 1))
    raw = constant(budget, zero, upper=np.full(3, 4, np.float32))
    assert np.isfinite(raw).all()
    assert raw[0] < raw[1]


def test_sets_begin_at_the_mean_target():
    total = np.full((2, 2), 9, np.float32)
    found = constant(partial(sets.budget_projection, total=total), TARGETS)
    np.testing.assert_allclose(found, [0.5, 3.0], rtol=1e-6)
    for function in (sets.affine_projection, sets.ball_projection, sets.cone_projection):
        np.testing.assert_allclose(constant(function, TARGETS), found)


def test_radial_maps_begin_where_they_give_the_targets():
    targets = np.tile(np.float32([0.6, 0.3]), (6, 1))
    ball = partial(sets.ball_radial, radius=np.float32([1, 1, 1, 1, 1, 0]))
    within = partial(
        sets.affine_soft_radial,
        rows=sets.box_rows(0.0, jnp.ones(2)),
        interior=jnp.full(2, 0.5),
    )
    for constraint, size in ((ball, 0.9), (within, 0.45 * 2**0.5)):
        begin, run = partial(constant, constraint), jax.jit(constraint)
        raw = begin(targets)
        output = run(np.broadcast_to(raw, targets.shape))
        np.testing.assert_allclose(output[0], targets[0], rtol=1e-5)  # the last ball is a point
        beyond = begin(9 * targets)
        assert np.isfinite(beyond).all()
        offset = np.asarray(run(np.broadcast_to(beyond, targets.shape)))[0]
        offset = offset - (0.5 if constraint is within else 0)
        assert np.linalg.norm(offset) <= size * 1.00001
    with pytest.raises(ValueError, match="ball_radial needs its radius"):
        starts.constant(sets.ball_radial, targets)
    with pytest.raises(ValueError, match="affine_soft_radial needs its rows and interior"):
        starts.constant(partial(sets.affine_soft_radial, interior=0), targets)


def test_what_cannot_be_used_is_refused():
    with pytest.raises(ValueError, match=r"budget_softmax needs its total"):
        starts.constant(sets.budget_softmax, TARGETS)
    with pytest.raises(TypeError, match="floating-point targets, got int32"):
        starts.constant(constraints.clip, jnp.array([[1]]), upper=2)
    with pytest.raises(ValueError, match=r"margin must lie in \(0, 0.5\)"):
        starts.constant(constraints.clip, TARGETS, upper=2.0, margin=1.0)
    with pytest.raises(ValueError, match="needs both bounds"):
        starts.constant(constraints.tanh_interval, TARGETS, upper=9.0)


def test_a_clip_that_would_begin_dead_learns():
    """As on `wind`: outputs begin at the lower bound, 0, where half of all features are dead."""
    targets = np.float32([[3], [5]])

    @jax.jit
    def run():
        bias = starts.constant(constraints.clip, targets, lower=1.0)

        def output(bias):
            return constraints.clip(jnp.broadcast_to(bias, targets.shape), lower=1.0)

        slope = jax.grad(lambda bias: jnp.mean(output(bias)))(bias)
        return jnp.mean((output(bias) - targets) ** 2), slope

    loss, slope = run()
    assert abs(loss - 1) < 1e-6
    assert slope == 1


@partial(jax.jit, static_argnums=0)
def compiled(constraint, targets, *bounds):
    """The start, raw there, and where the constraint then has no derivative."""
    start = starts.constant(constraint, targets, *bounds)
    raw = jnp.broadcast_to(start, targets.shape)
    slope = jax.grad(lambda raw: jnp.sum(constraint(raw, *bounds)))(raw)
    return start, raw, slope == 0


def begun(*given):
    return map(np.asarray, compiled(*given))


@pytest.mark.parametrize(
    "dataset",
    sampled(["wind", "bikeshare", "streamflow", "household_hourly", "irradiance"], {"wind"}),
)
@pytest.mark.parametrize(
    "name",
    sampled(
        [name for name in TRAINED if hasattr(inverses, name)],
        lambda name: name == "clip" or name in TELLING,
    ),
)
def test_on_the_studys_datasets_no_feature_begins_dead(dataset, name):
    """Exactly 0 is what a clip has where the mean target lies beyond an entry's own bound, and
    every map where its interval has no width; apart from these, at most what underflows."""
    data = load(dataset)
    part = data.part("train")
    constraint, row = getattr(constraints, name), TRAINED[name]
    lower, upper = select_bounds(row, part, data.target_range())
    if lower is None and upper is None:
        return

    start, raw, dead = begun(constraint, part["targets"], lower, upper)
    assert np.isfinite(start).all()
    assert not dead.all((0, 1)).any()
    least = -np.abs(upper) if name.endswith("d_tanh") else 0 if lower is None else lower
    wide = np.full(dead.shape, True) if upper is None else upper > least
    if name == "clip":
        within = raw <= (np.inf if upper is None else upper)
        within &= raw >= (-np.inf if lower is None else lower)
        np.testing.assert_array_equal(dead, ~within)
    else:
        assert (dead & wide).mean() < (0.02 if name == "knee_tanh" else 0.01)
