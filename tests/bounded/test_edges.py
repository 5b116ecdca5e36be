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
    fullest,
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
RAW = np.float32([-2, 0.3, 2])
BOUNDS = {"lower": np.float32([-1, -0.5, -1]), "upper": np.float32([1, 0.5, 1.5])}


def of(name, sides, **given):
    """The constraint with its bounds, as a function of raw."""
    function = getattr(constraints, name)
    return partial(function, **{side: BOUNDS[side] for side in sides} | given)


@every
def test_parameters_and_lists_are_arrays(name, sides):
    bounds = {side: BOUNDS[side] for side in sides}
    function = getattr(constraints, name)
    wrapped = {side: nnx.Param(bound) for side, bound in bounds.items()}
    lists = {side: bound.tolist() for side, bound in bounds.items()}
    frames = {side: pd.Series(bound) for side, bound in bounds.items()}

    @nnx.jit
    def outputs(raw, param, given):
        return (
            function(raw, **bounds),
            function(param, **given),
            function([-2.0, raw[1], 2], **wrapped),
            function(pd.Series(RAW), **lists),
            function(nnx.Param(RAW), **frames),
        )

    expected, *others = outputs(RAW, nnx.Param(jnp.asarray(RAW)), wrapped)
    for found in others:
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    if name == "clip":  # eager
        np.testing.assert_array_equal(function([-2.0, RAW[1], 2], **lists), expected)


@pytest.mark.parametrize(("name", "sides"), sampled(WITH_HYPER, fullest), ids=id_of)
def test_a_hyperparameter_may_be_a_parameter_and_is_checked_where_known(name, sides):
    def run(parameter, raw):
        return of(name, sides, **{PARAMETERS[name]: parameter})(raw)

    @nnx.jit
    def outputs(parameter, raw):
        return run(0.5, raw), run([0.5, 0.5, 0.5], raw), run(parameter, raw)

    expected, *others = outputs(nnx.Param(jnp.array(0.5)), RAW)
    for found in others:
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    with pytest.raises(ValueError, match=PARAMETERS[name]):
        run(nnx.Param(jnp.array(-0.5)), RAW)


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_and_metrics_take_what_constraints_take(name):
    function, plain, upper = PENALTIES[name], [1.0, 2.0], [1.0, 1.5]

    @nnx.jit
    def outputs(*wrapped):
        return (
            function(jnp.array(plain), upper=jnp.array(upper)),
            function(plain, upper=upper),
            function([1, 2], upper=upper),
            function(wrapped[0], upper=wrapped[1]),
        )

    expected, *others = outputs(*map(nnx.Param, np.float32([plain, upper])))
    for found in others:
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    with pytest.raises(TypeError, match="upper is a masked array"):
        function(plain, upper=np.ma.array([1.0, 2.0], mask=[0, 1]))
    with pytest.raises(ValueError, match=r"upper of shape \(3,\) does not broadcast to \(2,\)"):
        function(plain, upper=np.ones(3))


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
        clip(np.ones((2, 3)), upper=[np.ones(3), np.ones(2)])


@every
def test_an_output_has_raws_shape_or_is_refused(name, sides):
    raw, ones = np.zeros((4, 1), np.float32), {side: np.ones(1, np.float32) for side in sides}
    assert jax.eval_shape(of(name, sides, **ones), raw).shape == raw.shape
    for side in sides:
        wrong = of(name, sides, **ones | {side: np.ones(4, np.float32)})
        for run in (wrong, jax.jit(wrong)):
            with pytest.raises(ValueError, match=rf"{side} of shape \(4,\).* to \(4, 1\)"):
                run(raw)
    if name in PARAMETERS:
        with pytest.raises(ValueError, match=rf"{PARAMETERS[name]} of shape \(4,\).* to \(4, 1\)"):
            jax.eval_shape(of(name, sides, **ones, **{PARAMETERS[name]: np.full(4, 0.5)}), raw)


@few_cases
def test_a_masked_nan_does_not_poison_a_gradient(name, sides):
    given = {"raw": RAW} | {side: BOUNDS[side] for side in sides}
    if name in PARAMETERS:
        given[PARAMETERS[name]] = np.full(3, 0.5, np.float32)
    kept = np.array([True, False, True])

    @jax.jit
    def slopes(scale, given):
        def loss(scale, given):
            scaled = {key: value * scale[key] for key, value in given.items()}
            return jnp.where(kept, getattr(constraints, name)(**scaled), 0).sum()

        tangent = jax.tree.map(jnp.ones_like, scale)
        forward = jax.jvp(lambda scale: loss(scale, given), (scale,), (tangent,))[1]
        return *jax.grad(loss, (0, 1))(scale, given), forward

    scale = {key: np.ones(3, np.float32) for key in given}
    expected, _, expected_forward = jax.tree.map(np.asarray, slopes(scale, given))
    for spoilt in (["raw"], sides):
        bad = given | {key: np.where(kept, given[key], np.float32(np.nan)) for key in spoilt}
        of_scale, of_given, forward = jax.tree.map(np.asarray, slopes(scale, bad))
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
    @jax.jit
    @jax.grad
    def slope(z):
        return jnp.where(z < 50, constraints.exp_offset(z, upper=0.0), 0).sum()

    np.testing.assert_allclose(slope(np.float32([0, 100])), [-1, 0])


@few_cases
def test_a_nan_that_counts_shows_in_the_gradient(name, sides):
    run = of(name, sides)
    slope = jax.jit(jax.grad(lambda z: jnp.sum(run(z) ** 2)))(np.float32([-2, np.nan, 2]))
    assert np.isnan(slope).tolist() == [False, True, False]


def derivatives(name, sides):
    """Of the output with bounds that depend on x: the first and the second."""

    def output(x, raw, low, high):
        bounds = {"lower": low - x**2, "upper": high + x**2}
        hyper = {PARAMETERS[name]: 0.4 + 0.1 * jnp.sin(x)} if name in PARAMETERS else {}
        function = getattr(constraints, name)
        return function(raw + x, **{side: bounds[side] for side in sides}, **hyper)

    return jax.jit(jax.vmap(jax.value_and_grad(jax.grad(output))))


PLACES = [-400.0, -40.0, -3.1, -1.3, -0.4, 0.35, 1.25, 2.9, 40.0, 400.0]


@few_cases
def test_second_derivatives_with_bounds_that_depend_on_x(name, sides):
    """So far out that what underflows or overflows in float32 does in float64 too."""
    raw, low, high = map(np.ravel, np.meshgrid(PLACES, [-1.0, -np.inf], [1.0, np.inf]))
    x, step = np.full(raw.shape, 0.3), 1e-5
    both = derivatives(name, sides)
    with jax.enable_x64(True):
        _, found = both(x, raw, low, high)
        assert np.isfinite(found).all()
        ahead, behind = (np.asarray(both(x + way, raw, low, high)[0]) for way in (step, -step))
        np.testing.assert_allclose(found, (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-5)


@pytest.mark.thorough  # as the test above
@few_cases
def test_second_derivatives_are_finite_in_single_precision(name, sides):
    raw, low, high = map(np.ravel, np.meshgrid(PLACES[1:-1], [-1.0, -np.inf], [1.0, np.inf]))
    given = np.float32([np.full(raw.shape, 0.3), raw, low, high])
    _, found = derivatives(name, sides)(*given)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


@pytest.mark.thorough  # as the test above
def test_the_second_derivative_of_the_issue():
    second = jax.jit(jax.grad(jax.grad(lambda x: knee_tanh(x, upper=1 + x**2))))
    assert second(0.3) == 0


@every
@pytest.mark.parametrize("dtype", sampled(["float32", "bfloat16"], {"bfloat16"}))
def test_constraints_work_under_strict_promotion(name, sides, dtype):
    with jax.numpy_dtype_promotion("strict"):
        bounds = {side: BOUNDS[side].astype(dtype) for side in sides}
        given = {PARAMETERS[name]: np.full(3, 0.5, dtype)} if name in PARAMETERS else {}
        run, raw = of(name, sides, **bounds, **given), RAW.astype(dtype)
        assert jax.eval_shape(run, raw).dtype == dtype
        assert jax.eval_shape(jax.grad(lambda z: run(z).sum()), raw).dtype == dtype


@pytest.mark.parametrize("dtype", sampled(["float32", "bfloat16"], {"bfloat16"}))
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
    function, short = PENALTIES[name], np.float32([-2, 0.5, 3])
    padded = np.float32([*short, np.nan, np.inf])
    where = np.arange(5) < 3

    def both(output, **given):
        return jax.value_and_grad(lambda z: function(z, -1.0, 1.0, **given))(output)

    @jax.jit
    def outputs(short, padded, where):
        listed, upper = (np.arange(5) < 3).tolist(), jnp.where(where, 1.0, jnp.nan)
        return (
            both(short),
            both(padded, where=where),
            function(padded, -1.0, 1.0, where=listed),
            function(padded, -1.0, upper, where=where),
        )

    (value, slope), (found, found_slope), *others = outputs(short, padded, where)
    np.testing.assert_allclose([found, *others], np.full(3, value), rtol=1e-6)
    np.testing.assert_allclose(found_slope, [*slope, 0, 0], rtol=1e-6)
    with pytest.raises(TypeError, match="where must be boolean.*got float32"):
        function(padded, -1.0, 1.0, where=padded)
    with pytest.raises(ValueError, match=r"where of shape \(4,\)"):
        function(padded, -1.0, 1.0, where=np.ones(4, bool))


def test_a_multiplier_of_which_nothing_counts_stays():
    output, where = np.float32([[2, np.nan]]), np.array([[True, False]])
    update = jax.jit(penalties.update_multipliers)
    found = update(np.ones(2, np.float32), output, upper=1.0, where=where)
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

    def decode(codes, steps):
        return jnp.stack([codes, codes], -1)[:, :steps]

    def reliance(steps, target, **given):
        return metrics.code_reliance(partial(decode, steps=steps), codes, target, key, **given)

    @jax.jit
    def others():
        jacobian = np.stack([np.eye(2), np.full((2, 2), np.nan)])
        return (
            (reliance(2, full[:, :2]), reliance(4, target, where=where)),
            metrics.violation(full, upper=0.0, where=np.zeros_like(full, bool)),
            metrics.row_violation(target[0], where=where[0]),
            metrics.jacobian_rank_fraction(jacobian, where=[True, False]),
        )

    (expected, found), nothing, rows, rank = others()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert all(np.isnan(value) for value in nothing.values())
    np.testing.assert_allclose(rows["violation_max"], full[0, :2].max(0))
    assert rank == 1


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
        lambda case: case[0] == "knee_tanh",
    ),
    ids=id_of,
)
@pytest.mark.usefixtures("two_devices")
def test_constraints_work_on_explicit_and_manual_meshes_and_export(name, sides):
    raw = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)
    run = of(name, sides, **{side: BOUNDS[side][None] for side in sides})
    expected = jax.jit(run)(raw)
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
