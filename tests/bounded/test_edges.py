"""The edges that all functions share: what arguments may be, and what derivatives must be."""

import inspect
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from flax import nnx
from jax import export
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import bounded
from bounded import constraints, inverses, metrics, penalties, sets
from bounded.constraints import clip, knee_tanh, smooth_clip
from tests.bounded.maps import (
    CASES,
    EVERY,
    HARD,
    MAPS,
    PARAMETERS,
    few_cases,
    id_of,
    telling,
)
from tests.bounded.sets.cases import AFFINE, BUDGETS
from tests.bounded.sets.cases import CASES as SETS
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
WITH_HYPER = [case for case in CASES if case[0] in PARAMETERS]
every = pytest.mark.parametrize(("name", "sides"), sampled(EVERY, telling), ids=id_of)


def zero(output):
    return jnp.zeros((), getattr(output, "dtype", jnp.float32))


PENALTIES = {
    "hinge": penalties.hinge,
    "squared_hinge": penalties.squared_hinge,
    "log_barrier": penalties.log_barrier,
    "augmented_lagrangian": lambda output, lower=None, upper=None, **given: (
        penalties.augmented_lagrangian(output, lower, upper, multipliers=zero(output), **given)
    ),
    "update_multipliers": lambda output, lower=None, upper=None, **given: (
        penalties.update_multipliers(zero(output), output, lower, upper, **given)
    ),
    "excess": lambda output, lower=None, upper=None: jnp.sum(metrics.excess(output, lower, upper)),
    "violation": lambda output, lower=None, upper=None, **given: metrics.violation(
        output, lower, upper, **given
    )["violation_mean"],
}
MASKABLE = [name for name in PENALTIES if name != "excess"]
RAW = jnp.array([-2.0, 0.3, 2.0])
BOUNDS = {"lower": jnp.array([-1.0, -0.5, -1.0]), "upper": jnp.array([1.0, 0.5, 1.5])}


def of(name, sides, **given):
    """The constraint with its bounds, as a function of raw."""
    function = getattr(constraints, name)
    return partial(function, **{side: BOUNDS[side] for side in sides} | given)


@every
def test_parameters_and_lists_are_arrays(name, sides):
    expected = of(name, sides)(RAW)
    bounds = {side: BOUNDS[side] for side in sides}
    function = getattr(constraints, name)

    @nnx.jit
    def traced(raw, bounds):
        return function(raw, **bounds)

    wrapped = {side: nnx.Param(bound) for side, bound in bounds.items()}
    np.testing.assert_array_equal(function(nnx.Param(RAW), **wrapped), expected)
    np.testing.assert_allclose(traced(nnx.Param(RAW), wrapped), expected, rtol=1e-6)
    lists = {side: bound.tolist() for side, bound in bounds.items()}
    np.testing.assert_allclose(function([-2.0, RAW[1], 2], **lists), expected, rtol=1e-6)
    frames = {side: pd.Series(np.asarray(bound)) for side, bound in bounds.items()}
    np.testing.assert_array_equal(function(pd.Series(np.asarray(RAW)), **frames), expected)


@pytest.mark.parametrize(("name", "sides"), WITH_HYPER, ids=id_of)
def test_a_hyperparameter_may_be_a_parameter_and_is_checked_where_known(name, sides):
    def run(parameter, raw):
        return of(name, sides, **{PARAMETERS[name]: parameter})(raw)

    expected = run(0.5, RAW)
    found = nnx.jit(run)(nnx.Param(jnp.array(0.5)), RAW)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(run([0.5, 0.5, 0.5], RAW), expected)
    with pytest.raises(ValueError, match=PARAMETERS[name]):
        run(nnx.Param(jnp.array(-0.5)), RAW)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_and_metrics_take_what_constraints_take(name):
    function, plain = PENALTIES[name], [1.0, 2.0]
    expected = function(jnp.array(plain), upper=jnp.array([1.0, 1.5]))
    np.testing.assert_allclose(function(plain, upper=[1.0, 1.5]), expected)
    np.testing.assert_allclose(function([1, 2], upper=[1.0, 1.5]), expected)
    wrapped = nnx.Param(jnp.array(plain)), nnx.Param(jnp.array([1.0, 1.5]))
    found = nnx.jit(lambda output, upper: function(output, upper=upper))(*wrapped)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(TypeError, match="upper is a masked array"):
        function(plain, upper=np.ma.array([1.0, 2.0], mask=[0, 1]))
    with pytest.raises(ValueError, match=r"upper of shape \(3,\) does not broadcast to \(2,\)"):
        function(plain, upper=jnp.ones(3))


MASKED = np.ma.array([1.0, -9999.0, 1.0], mask=[0, 1, 0])


@every
def test_masked_arrays_are_refused_by_name(name, sides):
    for side in sides:
        for masked in (MASKED, [MASKED[0], MASKED[1], 1.0]):
            with pytest.raises(TypeError, match=f"{side} is a masked array.*filled"):
                of(name, sides, **{side: masked})(RAW)
    with pytest.raises(TypeError, match="raw is a masked array"):
        of(name, sides)(MASKED)
    if name in PARAMETERS:
        with pytest.raises(TypeError, match=f"{PARAMETERS[name]} is a masked array"):
            of(name, sides, **{PARAMETERS[name]: MASKED})(RAW)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a", "upper must be a number or an array, got str.*numpy.asarray"),
        (np.array(["a"]), "upper must hold numbers.*got dtype <U1"),
        (np.array([None, 1.0, 1.0]), "upper must hold numbers.*got dtype object"),
        (jax.random.key(0), "upper must hold numbers.*got dtype key"),
    ],
    ids=str,
)
def test_what_is_no_number_is_refused_by_name(value, message):
    with pytest.raises(TypeError, match=message):
        clip(RAW, upper=value)


def test_a_list_of_parts_that_differ_is_refused_by_name():
    with pytest.raises(ValueError, match="upper is a list of parts that differ in shape"):
        clip(jnp.ones((2, 3)), upper=[jnp.ones(3), jnp.ones(2)])


@every
def test_an_output_has_raws_shape_or_is_refused(name, sides):
    raw, ones = jnp.zeros((4, 1)), {side: jnp.ones(1) for side in sides}
    for run in (of(name, sides, **ones), jax.jit(of(name, sides, **ones))):
        assert run(raw).shape == raw.shape
    for side in sides:
        wrong = of(name, sides, **ones | {side: jnp.ones(4)})
        for run in (wrong, jax.jit(wrong)):
            with pytest.raises(ValueError, match=rf"{side} of shape \(4,\).* to \(4, 1\)"):
                run(raw)
    if name in PARAMETERS:
        with pytest.raises(ValueError, match=rf"{PARAMETERS[name]} of shape \(4,\).* to \(4, 1\)"):
            of(name, sides, **ones, **{PARAMETERS[name]: jnp.full(4, 0.5)})(raw)


@few_cases
def test_a_masked_nan_does_not_poison_a_gradient(name, sides):
    given = {"raw": RAW} | {side: BOUNDS[side] for side in sides}
    if name in PARAMETERS:
        given[PARAMETERS[name]] = jnp.full(3, 0.5)
    kept = jnp.array([True, False, True])

    @jax.jit
    def slopes(scale, given):
        def loss(scale, given):
            scaled = {key: value * scale[key] for key, value in given.items()}
            return jnp.where(kept, getattr(constraints, name)(**scaled), 0).sum()

        tangent = jax.tree.map(jnp.ones_like, scale)
        forward = jax.jvp(lambda scale: loss(scale, given), (scale,), (tangent,))[1]
        return *jax.grad(loss, (0, 1))(scale, given), forward

    scale = {key: jnp.ones(3) for key in given}
    expected, _, expected_forward = slopes(scale, given)
    for spoilt in (["raw"], sides):
        bad = given | {key: given[key].at[1].set(jnp.nan) for key in spoilt}
        of_scale, of_given, forward = slopes(scale, bad)
        for key in given:
            np.testing.assert_allclose(of_scale[key][kept], expected[key][kept], rtol=1e-6)
            if np.isfinite(bad[key]).all():
                assert of_scale[key][1] == 0
            assert of_given[key][1] == 0, key
        np.testing.assert_allclose(forward, expected_forward, rtol=1e-6)


def test_a_masked_nan_of_the_issue():
    def loss(w):
        output = smooth_clip(w * jnp.ones(2), upper=jnp.array([2.0, jnp.nan]))
        return jnp.sum(jnp.where(jnp.array([True, False]), output, 0.0))

    np.testing.assert_allclose(jax.jit(jax.grad(loss))(1.0), 1 / (1 + np.exp(-10.0)), rtol=1e-5)


def test_an_overflow_that_is_masked_does_not_poison_a_gradient():
    slope = jax.grad(lambda z: jnp.where(z < 50, constraints.exp_offset(z, upper=0.0), 0).sum())
    np.testing.assert_allclose(slope(jnp.array([0.0, 100.0])), [-1, 0])


def test_a_nan_that_counts_shows_in_the_gradient():
    @jax.jit
    def slopes(raw):
        runs = [of(*case) for case in CASES]
        return [jax.grad(lambda z, run=run: jnp.sum(run(z) ** 2))(raw) for run in runs]

    for slope, (name, _) in zip(slopes(RAW.at[1].set(jnp.nan)), CASES, strict=True):
        assert np.isnan(slope).tolist() == [False, True, False], name


def derivatives(name, sides):
    """Of the output with bounds that depend on x: the first and the second."""

    def output(x, raw, low, high):
        bounds = {"lower": low - x**2, "upper": high + x**2}
        hyper = {PARAMETERS[name]: 0.4 + 0.1 * jnp.sin(x)} if name in PARAMETERS else {}
        function = getattr(constraints, name)
        return function(raw + x, **{side: bounds[side] for side in sides}, **hyper)

    return jax.jit(jax.vmap(jax.value_and_grad(jax.grad(output))))


PLACES = [-40.0, -3.1, -1.3, -0.4, 0.35, 1.25, 2.9, 40.0]


@few_cases
def test_second_derivatives_with_bounds_that_depend_on_x(name, sides):
    raw, low, high = map(
        jnp.ravel, jnp.meshgrid(*map(jnp.array, (PLACES, [-1.0, -jnp.inf], [1.0, jnp.inf])))
    )
    x, step = jnp.full(raw.shape, 0.3), 1e-5
    both = derivatives(name, sides)
    assert np.isfinite(both(x, raw, low, high)[1]).all()
    with jax.enable_x64(True):
        given = [np.asarray(value, np.float64) for value in (raw, low, high)]
        x = np.full(raw.shape, 0.3)
        _, found = both(x, *given)
        differences = (both(x + step, *given)[0] - both(x - step, *given)[0]) / (2 * step)
        np.testing.assert_allclose(found, differences, rtol=1e-4, atol=1e-5)


def test_the_second_derivative_of_the_issue():
    second = jax.jit(jax.grad(jax.grad(lambda x: knee_tanh(x, upper=1 + x**2))))
    assert second(0.3) == 0


@every
@pytest.mark.parametrize("dtype", sampled(["float32", "bfloat16"], {"bfloat16"}))
def test_constraints_work_under_strict_promotion(name, sides, dtype):
    with jax.numpy_dtype_promotion("strict"):
        bounds = {side: BOUNDS[side].astype(dtype) for side in sides}
        given = {PARAMETERS[name]: jnp.full(3, 0.5, dtype)} if name in PARAMETERS else {}
        run, raw = of(name, sides, **bounds, **given), RAW.astype(dtype)
        assert jax.eval_shape(run, raw).dtype == dtype
        assert jax.eval_shape(jax.grad(lambda z: run(z).sum()), raw).dtype == dtype


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_penalties_and_metrics_work_under_strict_promotion(dtype):
    output = np.array([[-2.0, 0.5], [2.0, 0.3]], dtype)
    bounds = np.full((1, 2), -1, dtype), np.ones((1, 2), dtype)
    where = np.array([[True, True], [True, False]])

    @jax.jit
    def everything(output, bounds, where):
        return (
            [PENALTIES[name](output, *bounds) for name in MASKABLE],
            [PENALTIES[name](output, *bounds, where=where) for name in MASKABLE],
            [
                metrics.reconstruction(output, output, where=where),
                metrics.violation(output, *bounds, where=where),
                metrics.sum_violation(output, upper=bounds[1][:, :1]),
                metrics.row_violation(output, where=where),
                metrics.gradient_health(*[output] * 5, *bounds, where=where),
                penalties.geometric_schedule(0.5, *bounds[1][0]) == 1,
                metrics.jacobian_rank_fraction(metrics.set_jacobian(jax.nn.relu, output)) == 0.75,
            ],
        )

    with jax.numpy_dtype_promotion("strict"):
        *penalised, found = everything(output, bounds, where)
    assert np.isfinite(np.array(penalised, float)).all()
    assert all(found)


@pytest.mark.parametrize("name", MASKABLE)
def test_what_does_not_count_changes_neither_value_nor_gradient(name):
    function, short = PENALTIES[name], jnp.array([-2.0, 0.5, 3.0])
    padded = jnp.concatenate([short, jnp.array([jnp.nan, jnp.inf])])
    where = jnp.arange(5) < 3

    @jax.jit
    def both(output, **given):
        return jax.value_and_grad(lambda z: function(z, -1.0, 1.0, **given))(output)

    value, slope = both(short)
    found, found_slope = both(padded, where=where)
    np.testing.assert_allclose(found, value, rtol=1e-6)
    np.testing.assert_allclose(found_slope, [*slope, 0, 0], rtol=1e-6)
    listed = function(padded, -1.0, 1.0, where=where.tolist())
    np.testing.assert_allclose(listed, value, rtol=1e-6)
    upper = jnp.where(where, 1.0, jnp.nan)
    np.testing.assert_allclose(function(padded, -1.0, upper, where=where), value, rtol=1e-6)
    with pytest.raises(TypeError, match="where must be boolean.*got float32"):
        function(padded, -1.0, 1.0, where=padded)
    with pytest.raises(ValueError, match=r"where of shape \(4,\)"):
        function(padded, -1.0, 1.0, where=jnp.ones(4, bool))


def test_a_multiplier_of_which_nothing_counts_stays():
    output, where = jnp.array([[2.0, jnp.nan]]), jnp.array([[True, False]])
    found = penalties.update_multipliers(jnp.ones(2), output, upper=1.0, where=where)
    np.testing.assert_array_equal(found, [2, 1])


def test_missing_targets_count_nowhere_in_metrics():
    full = np.random.default_rng(0).normal(size=(6, 4, 2)).astype(np.float32)
    target = np.array(full)
    target[:, 2:] = np.nan
    output, where = full + np.float32(0.1), ~np.isnan(target)
    raw = np.ones_like(full)
    for given in (
        lambda output, target, **where: metrics.reconstruction(output, target, **where),
        lambda output, target, **where: metrics.violation(target, upper=output, **where),
        lambda output, target, **where: metrics.gradient_health(
            output, *[raw[:, : output.shape[1]]] * 3, target, **where
        ),
    ):
        run = jax.jit(given)
        found, expected = run(output, target, where=where), run(output[:, :2], full[:, :2])
        for metric in expected:
            np.testing.assert_allclose(found[metric], expected[metric], rtol=1e-5, err_msg=metric)
    codes, key = full[:, :, 0], jax.random.key(0)

    @partial(jax.jit, static_argnums=0)
    def reliance(steps, target, **given):
        def decode(codes):
            return jnp.stack([codes, codes], -1)[:, :steps]

        return metrics.code_reliance(decode, codes, target, key, **given)

    expected = reliance(2, full[:, :2])
    np.testing.assert_allclose(reliance(4, target, where=where), expected, rtol=1e-5)
    violation, row_violation = jax.jit(metrics.violation), jax.jit(metrics.row_violation)
    nothing = violation(full, upper=0.0, where=np.zeros_like(full, bool))
    assert all(np.isnan(value) for value in nothing.values())
    rows = row_violation(target[0], where=where[0])
    np.testing.assert_allclose(rows["violation_max"], full[0, :2].max(0))
    jacobian = jnp.stack([jnp.eye(2), jnp.full((2, 2), jnp.nan)])
    assert metrics.jacobian_rank_fraction(jacobian, where=[True, False]) == 1


def public(module):
    found = getattr(module, "__all__", vars(module))
    return {n for n in found if inspect.isfunction(vars(module)[n]) and not n.startswith("_")}


def test_every_public_function_is_in_a_list_that_the_property_tests_go_through():
    """A new one needs a line in `maps.py` or `sets/cases.py`."""
    assert public(constraints) == MAPS.keys() | {"sequence_maximum"}
    of_sets = public(sets) & public(inverses)
    assert public(inverses) == MAPS.keys() | of_sets | {"log_derivative"}
    rows = {name for name in sets.__all__ if name.endswith("_rows")}
    others = {name.split(",")[0] for name in SETS} | {"nonlinear_residual"}
    assert public(sets) == BUDGETS.keys() | AFFINE.keys() | rows | others


def test_every_function_has_its_own_name_in_bounded():
    for module, names in ((constraints, public(constraints)), (sets, sets.__all__)):
        for name in names:
            assert getattr(bounded, name) is getattr(module, name)
            assert name in bounded.__all__
    for name in bounded.__all__:
        assert hasattr(bounded, name)


def test_importing_bounded_imports_jax_and_costs_little_more():
    """By the number of others' modules, which does not depend on what else the machine does."""
    names = "print(*(name for name in sys.modules if not name.startswith('bounded')));"
    code = f"import sys, jax; {names} import bounded, bounded.constraints; {names}"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, after = (line.split() for line in run.stdout.splitlines())
    assert len(after) <= len(before) + 15
    assert not {"flax", "optax", "matplotlib", "rich", "scipy.stats"} & set(after)


@pytest.mark.parametrize(
    ("name", "sides"),
    sampled(
        [(name, MAPS[name].sides[-1]) for name in HARD],
        lambda case: case[0] in ("clip", "knee_tanh"),
    ),
    ids=id_of,
)
@pytest.mark.usefixtures("two_devices")
def test_constraints_work_on_explicit_and_manual_meshes_and_export(name, sides):
    raw = jnp.linspace(-2, 2, 12).reshape(4, 3)
    run = of(name, sides, **{side: BOUNDS[side][None] for side in sides})
    expected = run(raw)
    mesh = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(raw, NamedSharding(mesh, PartitionSpec("x", None)))
        output, slopes = jax.jit(lambda z: (run(z), jax.grad(lambda z: run(z).sum())(z)))(sharded)
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)
        assert slopes.shape == raw.shape
    mesh, spec = jax.make_mesh((2,), ("x",), axis_types=(AxisType.Auto,)), PartitionSpec("x")
    mapped = jax.shard_map(run, mesh=mesh, in_specs=spec, out_specs=spec)
    np.testing.assert_allclose(jax.jit(mapped)(raw), expected, rtol=1e-5, atol=1e-6)
    shape = jax.ShapeDtypeStruct(export.symbolic_shape("batch, 3"), jnp.float32)
    found = export.export(jax.jit(run))(shape).call(raw)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
