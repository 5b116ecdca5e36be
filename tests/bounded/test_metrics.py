from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bounded import metrics, sets
from bounded.constraints import clip, identity, smooth_clip
from bounded.penalties import squared_hinge
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
# Compiled whole, which takes less than step by step.
reconstruction, r2 = jax.jit(metrics.reconstruction), jax.jit(metrics.r2)
violation, sum_violation = jax.jit(metrics.violation), jax.jit(metrics.sum_violation)
gradient_health = jax.jit(metrics.gradient_health)
jacobian_rank_fraction = jax.jit(metrics.jacobian_rank_fraction)
of_a_function = partial(jax.jit, static_argnums=0)
gradients, set_jacobian = map(of_a_function, (metrics.gradients, metrics.set_jacobian))
code_reliance = of_a_function(metrics.code_reliance)


def test_reconstruction_by_hand():
    target = np.float32([[[0, 1], [2, 3]]])
    found = reconstruction(target + np.float32([[[1, 0]]]), target)
    np.testing.assert_allclose(found["mse"], 0.5)
    np.testing.assert_allclose(found["mae"], 0.5)
    np.testing.assert_allclose(found["r2"], (0 + 1) / 2)


def test_r2_does_not_exist_for_a_feature_that_does_not_vary():
    target = np.stack([np.full(5, 0.1), np.arange(5)], axis=-1, dtype=np.float32)[None]
    assert np.isnan(r2(target, target))
    assert r2(target[..., 1:], target[..., 1:]) == 1


def test_violation_by_hand():
    output = np.float32([0, 1, 1.00005, 3, -2])
    found = violation(output, -1.0, 1.0)
    np.testing.assert_allclose(found["violation_rate"], 3 / 5)
    np.testing.assert_allclose(found["violation_rate_1e-4"], 2 / 5)
    np.testing.assert_allclose(found["violation_mean"], (0.00005 + 2 + 1) / 5, rtol=1e-3)
    np.testing.assert_allclose(found["violation_max"], 2)
    np.testing.assert_allclose(found["active_fraction"], 1 / 5)


def test_violation_without_a_bound_is_zero():
    found = violation(np.ones(3, np.float32), None, np.full(3, np.inf, np.float32))
    assert all(value == 0 for value in found.values())


def test_a_nan_output_is_not_feasible():
    found = violation(np.float32([[[np.nan], [0]]]), upper=np.ones((1, 2, 1), np.float32))
    assert np.isnan(found["violation_rate"])
    assert np.isnan(found["violation_rate_1e-4"])


def test_gradient_health_by_hand():
    raw = np.float32([-2, 0.5, 2, 3]).reshape(1, 4, 1)
    target = np.float32([-1, 0.5, 1, 0.5]).reshape(1, 4, 1)
    lower, upper = np.full_like(raw, -1), np.ones_like(raw)
    signs = np.float32([1, -1, 1, -1]).reshape(1, 4, 1)

    def strategy(raw):
        return clip(raw, lower, upper), jnp.zeros(())

    found = gradients(strategy, raw, signs, target)
    found = gradient_health(*found, target, lower, upper)
    np.testing.assert_allclose(found["gradient_dead_fraction"], 3 / 4)
    np.testing.assert_allclose(found["constraint_dead_fraction"], 3 / 4)
    # The first and third are dead but right; the fourth is dead, feasible and wrong.
    np.testing.assert_allclose(found["gradient_vanishing_fraction"], 1 / 4)
    np.testing.assert_allclose(found["blocked_fraction"], 1 / 4)


def test_an_infeasible_target_does_not_count_as_blocked():
    raw = np.full((1, 2, 1), 5, np.float32)
    target = np.float32([[[2], [0.5]]])
    upper = np.ones_like(raw)
    found = gradient_health(
        *gradients(lambda z: (clip(z, upper=upper), 0.0 * z.sum()), raw, raw, target),
        target,
        upper=upper,
    )
    np.testing.assert_allclose(found["blocked_fraction"], 1 / 2)


def test_a_penalty_revives_what_the_constraint_kills():
    raw = np.float32([[[-2], [0.5], [2]]])
    ones = np.ones_like(raw)

    def strategy(raw):
        return clip(raw, -ones, ones), squared_hinge(raw, -ones, ones)

    found = gradients(strategy, raw, ones, 0 * raw)
    found = gradient_health(*found, 0 * raw, -ones, ones)
    assert found["gradient_dead_fraction"] == 0
    np.testing.assert_allclose(found["constraint_dead_fraction"], 2 / 3)


def vanishing(strategy, raw, target, times=1):
    """Of entries that are there so many times."""

    @jax.jit
    def health(raw, target):
        found = gradients(strategy, raw, jnp.ones_like(raw), target)
        return gradient_health(*found, target, upper=1.0)

    raw, target = (np.tile(np.float32(of)[:, None, None], (times, 1, 1)) for of in (raw, target))
    return float(health(raw, target)["gradient_vanishing_fraction"])


@pytest.mark.parametrize("times", sampled([1, 100_000], {100_000}))
def test_what_vanishes_is_told_by_the_errors_own_scale_however_many_entries_there_are(times):
    raw, target = [3.0, 3.0, 0.2, 1.001], [0.0, 1.0, -0.5, 0.0]

    def free(z):
        return clip(z, upper=1.0), jnp.zeros(())

    def displaced(z):
        return clip(z, upper=1.0), 0.1 * squared_hinge(z, upper=1.0)

    def penalised(z):
        return z, 10.0 * squared_hinge(z, upper=1.0)

    # The second is right, the third inside.
    assert vanishing(free, raw, target, times) == 1 / 2
    # The weight times 2 of displacement against 1 of error leaves a fifth; 0.001 of it 0.0001.
    assert vanishing(displaced, raw, target, times) == 1 / 4
    assert vanishing(penalised, raw, target, times) == 0


def test_a_smooth_clip_vanishes_where_its_slope_is_below_a_thousandth():
    temperature, slopes = 0.1, np.array([2e-3, 1.1e-3, 0.9e-3, 1e-5])
    raw = 1 - temperature * np.log(slopes / (1 - slopes))  # its slope is a sigmoid

    def smooth(z):
        return smooth_clip(z, upper=1.0, temperature=temperature), jnp.zeros(())

    assert vanishing(smooth, raw, np.zeros(4)) == 1 / 2
    assert vanishing(smooth, raw, np.full(4, 1000.0)) == 1 / 2


def test_a_target_that_is_missing_vanishes_nowhere():
    raw, target = np.full((2, 1, 1), 3, np.float32), np.float32([[[0.5]], [[np.nan]]])
    where = ~np.isnan(target)

    def displaced(z):
        return clip(z, upper=1.0), 0.1 * squared_hinge(z, upper=1.0, where=where)

    *_, ratio = found = gradients(displaced, raw, np.ones_like(raw), target, where=where)
    np.testing.assert_allclose(ratio[0], 0.1 * 2 / 0.5, rtol=1e-6)
    health = gradient_health(*found, target, upper=1.0, where=where)
    assert health["gradient_vanishing_fraction"] == 0


def codes_and_targets(windows=6):
    codes = 10 * np.random.default_rng(1).normal(size=(windows, 3)).astype(np.float32)
    return codes, codes[:, :, None]


def test_code_reliance_is_one_where_only_the_code_informs():
    codes, targets = codes_and_targets()
    found = code_reliance(lambda c: c[:, :, None], codes, targets, jax.random.key(0))
    assert found == 1


def test_code_reliance_is_zero_where_the_bound_gives_the_answer():
    codes, targets = codes_and_targets()
    found = code_reliance(
        lambda c: clip(identity(c[:, :, None]) + 100, upper=targets),
        codes,
        targets,
        jax.random.key(0),
    )
    assert found == 0


def test_what_the_bound_hides_shows_in_the_reliance_of_raw():
    codes, targets = codes_and_targets()

    def decode(codes, own):
        raw = own * codes[:, :, None] + np.float32([100, 101, 102])[None, :, None]
        return clip(raw, upper=targets), raw

    @jax.jit
    def run(codes, own):
        given, key = (targets, decode(codes, own)[1]), jax.random.key(0)
        return metrics.code_reliances(partial(decode, own=own), codes, given, key)

    for own, expected in ((1.0, 1), (0.0, 0)):
        assert run(codes, own) == (0, expected)


def test_code_reliance_permutes_without_fixed_points():
    windows = 5
    seen = []
    codes = np.arange(windows, dtype=np.float32)[:, None]

    def decode(code):
        jax.debug.callback(lambda c: seen.append(np.asarray(c)[:, 0].astype(int)), code)
        return code[:, :, None]

    code_reliance(decode, codes, codes[:, :, None], jax.random.key(0)).block_until_ready()
    jax.effects_barrier()
    moved = [order for order in seen if (order != np.arange(windows)).any()]
    assert len(moved) == 10
    for order in moved:
        assert sorted(order) == list(range(windows))
        assert (order != np.arange(windows)).all()


@pytest.mark.parametrize("windows", [0, 1])
def test_code_reliance_does_not_exist_below_two_windows(windows):
    codes, targets = codes_and_targets(windows)
    found = code_reliance(lambda c: c[:, :, None], codes, targets, jax.random.key(0))
    assert np.isnan(found)


def test_the_violation_of_a_sum_by_hand():
    output = np.float32([[[1, 2], [1, 0.5]]])
    found = sum_violation(output, None, np.float32([[[2], [2]]]))
    assert found["sum_violation_rate"] == 0.5
    assert found["sum_violation_rate_1e-4"] == 0.5
    assert found["sum_violation_max"] == 1
    assert all(np.isnan(value) for value in sum_violation(output).values())


def test_the_violation_of_rows_by_hand():
    @jax.jit
    def run(output):
        rows = sets.stack_rows(sets.box_rows(0.0, jnp.ones(2)), sets.sum_rows(1.5, size=2))
        return metrics.row_violation(sets.affine_excess(output, rows))

    found = run(np.float32([[1, 1], [0.5, -1]]))
    np.testing.assert_array_equal(found["violation_rate"], [0, 0.5, 1])  # the sum is an equality
    np.testing.assert_array_equal(found["violation_mean"], [0, 0.5, 1.25])
    np.testing.assert_array_equal(found["violation_max"], [0, 1, 2])


def test_a_set_is_dead_along_directions_rather_than_in_entries():
    raw = np.float32([[2, 1, 3], [0, -1, 0.5]])
    jacobian = set_jacobian(lambda raw: raw - raw.mean(-1, keepdims=True), raw)
    np.testing.assert_allclose(jacobian[0], np.eye(3) - 1 / 3, atol=1e-6)
    assert (np.asarray(jacobian) != 0).all()
    np.testing.assert_allclose(jacobian_rank_fraction(jacobian), 2 / 3)
    clipped = set_jacobian(lambda raw: clip(raw, 0.0, 2.5), raw)
    np.testing.assert_allclose(jacobian_rank_fraction(clipped), 4 / 6)
    assert jacobian_rank_fraction(np.zeros((4, 2, 2), jnp.bfloat16)) == 0
