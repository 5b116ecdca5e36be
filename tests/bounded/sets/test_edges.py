"""What every function on sets does at the edges: one list of them, one test a kind of edge."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import export
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from bounded.sets import (
    Rows,
    affine_excess,
    affine_hardnet,
    affine_projection,
    affine_radial,
    box_rows,
    budget_projection,
    budget_rescale,
    budget_softmax,
    monotone_rows,
    quantile_rows,
    rate_rows,
    stack_rows,
    sum_rows,
)
from tests.bounded.sets.cases import (
    AFFINE,
    BALLS,
    BOUND,
    BUDGETS,
    CASES,
    FULLEST,
    MATRIX,
    RADIAL,
    RAW,
)

pytestmark = pytest.mark.usefixtures("unoptimised")
every = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
each = pytest.mark.parametrize("case", FULLEST.values(), ids=FULLEST)
every_budget = pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
every_affine = pytest.mark.parametrize("function", AFFINE.values(), ids=AFFINE)


COTANGENT = jnp.cos(RAW)


def with_slopes(case):
    def run(cotangent, *arguments):
        output, pullback = jax.vjp(case, *arguments)
        return output, *pullback(cotangent)

    return run


@cache
def compiled(case):
    """Its output and slopes, compiled once for all tests here."""
    return jax.jit(with_slopes(case))


def test_the_radial_interior_of_these_tests_is_on_the_lines():
    np.testing.assert_allclose(MATRIX @ jnp.array([4, -2, 1]) / 3, [1, 2.1666667], rtol=1e-6)


@every
def test_a_masked_nan_does_not_poison_a_gradient(case):
    """What a mask leaves out has a cotangent of 0."""
    known = np.array([True, False, True, True])
    masked = np.where(known[:, None], COTANGENT, 0)
    _, *clean = compiled(case)(masked, RAW, BOUND)
    nan_raw, nan_bound = np.array(RAW), np.array(BOUND)
    nan_raw[1, 0] = nan_bound[1] = np.nan
    for raw, bound in ((nan_raw, BOUND), (RAW, nan_bound)):
        output, *found = compiled(case)(masked, raw, bound)
        for slopes, expected in zip(found, clean, strict=True):
            np.testing.assert_array_equal(slopes[1], 0)
            np.testing.assert_allclose(slopes[0], expected[0], atol=1e-5)
        np.testing.assert_array_equal(np.isnan(output), ~np.broadcast_to(known[:, None], (4, 3)))


def test_a_masked_nan_in_a_cap_a_matrix_or_an_interior_does_not_either():
    known = jnp.array([True, False])
    raw = jnp.array([[2.0, 1.0], [1.0, 2.0]])
    ones = jnp.ones((2, 2))
    spoilt = ones.at[1, 1].set(jnp.nan)
    eyes = jnp.stack([jnp.eye(2)] * 2)

    def gradient(function, count):
        def total(*arguments):
            output = function(*arguments)
            return jnp.sum(jnp.where(known.reshape(-1, *[1] * (output.ndim - 1)), output, 0.0))

        return jax.jit(jax.grad(total, range(count)))

    def check(found):
        for slopes in found:
            assert np.isfinite(slopes[0]).all()
            np.testing.assert_array_equal(slopes[1], 0)

    for budget in BUDGETS.values():
        check(gradient(lambda x, u, f=budget: f(x, 1.0, upper=u), 2)(raw, spoilt))
    for function in AFFINE.values():
        found = gradient(lambda x, a, low, f=function: f(x, Rows(a, low, 3.0)), 3)
        check(found(raw, eyes.at[1, 0, 0].set(jnp.nan), ones))
        check(found(raw, eyes, spoilt))
    for function in (affine_projection, affine_hardnet, *RADIAL):
        rows = Rows(jnp.eye(2), upper=2.0)
        check(gradient(lambda x, p, f=function, r=rows: f(x, r, interior=p), 2)(raw, spoilt))
    for ball in BALLS.values():
        check(gradient(lambda x, c, f=ball: f(x, 1.0, center=c), 2)(raw, spoilt))


@every
def test_second_derivatives_are_those_of_finite_differences(case, x64):
    raw, bound = RAW.astype(float), BOUND.astype(float)
    direction = jnp.array([[0.3, -0.7, 1.1]])
    weight = jnp.array([[1.0, -0.4, 0.7]])

    def along(x):
        return jnp.sum(weight * case(raw + jnp.sin(x) * direction, bound * (1 + x**2)) ** 2)

    slope = jax.grad(along)

    @jax.jit
    def slopes(x):
        first, second = jax.jvp(slope, (x,), (jnp.ones_like(x),))
        # Forward over backward; of one of each function also backward over backward.
        return first, second, jax.grad(slope)(x) if case in FULLEST.values() else second

    for x in (0.05, 0.3):
        _, *found = slopes(x)
        expected = (slopes(x + 1e-6)[0] - slopes(x - 1e-6)[0]) / 2e-6
        np.testing.assert_allclose(found, [expected] * 2, rtol=1e-5, atol=1e-5)


@each
def test_forward_mode_agrees_with_backward(case):
    tangent = jnp.sin(jnp.arange(12.0)).reshape(4, 3), jnp.cos(jnp.arange(4.0))
    output, dot = jax.jit(lambda *x: jax.jvp(case, x, tangent))(RAW, BOUND)
    assert output.shape == RAW.shape
    _, *slopes = compiled(case)(COTANGENT, RAW, BOUND)
    backward = sum(jnp.sum(x * t) for x, t in zip(slopes, tangent, strict=True))
    np.testing.assert_allclose(jnp.sum(dot * COTANGENT), backward, rtol=1e-4, atol=1e-5)


TESTED_ELSEWHERE = (
    "budget",
    "affine_hardnet",
    "affine_projection",
    "affine_radial",
    "affine_soft_radial",
    "nonlinear_projection",
)
HERE = {name: case for name, case in FULLEST.items() if not name.startswith(TESTED_ELSEWHERE)}


@pytest.mark.parametrize("case", HERE.values(), ids=HERE)
def test_leading_shapes_are_any(case):
    """Two axes, none, and a batch of no sets; of those above, other tests show it."""
    both, one, none = jax.jit(
        lambda raw, bound: (
            case(raw.reshape(2, 2, 3), bound.reshape(2, 2)),
            case(raw[0], bound[0]),
            case(raw[:0], bound[:0]),
        )
    )(RAW, BOUND)
    expected, *_ = compiled(case)(COTANGENT, RAW, BOUND)
    np.testing.assert_allclose(both, expected.reshape(2, 2, 3), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one, expected[0], rtol=1e-5, atol=1e-6)
    assert none.shape == (0, 3)


@each
@pytest.mark.usefixtures("two_devices")
def test_it_works_under_shard_map_with_its_checks(case):
    """Also where all shards share a part of their bounds: its slope is then their sum."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

    def partly_shared(raw, own, shared):
        return case(raw, own + shared)

    specs = P("data"), P("data"), P()
    sharded = jax.jit(
        jax.shard_map(
            with_slopes(partly_shared),
            mesh=mesh,
            in_specs=(P("data"), *specs),
            out_specs=(P("data"), *specs),
        )
    )
    shared = np.float32(0.25)
    found = sharded(COTANGENT, RAW, BOUND - shared, shared)
    expected = compiled(case)(COTANGENT, RAW, BOUND)
    for one, other in zip(found, (*expected, jnp.sum(expected[-1])), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)


@each
@pytest.mark.usefixtures("two_devices")
def test_it_works_on_a_mesh_of_explicit_axes(case):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    with jax.set_mesh(mesh):
        raw = jax.device_put(RAW, NamedSharding(mesh, P("data")))
        bound = jax.device_put(BOUND, NamedSharding(mesh, P("data")))
        cotangent = jax.device_put(COTANGENT, NamedSharding(mesh, P("data")))
        found = jax.jit(with_slopes(case))(cotangent, raw, bound)
        assert jax.typeof(found[0]).sharding.spec[0] == "data"
        if (
            case is FULLEST["affine_hardnet, batched"]
        ):  # step by step, each is typed in the same way
            found = *found, case(raw, bound)
    expected = compiled(case)(COTANGENT, RAW, BOUND)
    for one, other in zip(found, (*expected, expected[0])[: len(found)], strict=True):
        np.testing.assert_allclose(one, np.asarray(other), rtol=1e-5, atol=1e-6)


@each
def test_it_is_exported_with_a_symbolic_batch(case):
    (batch,) = export.symbolic_shape("batch")
    shapes = [jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for x in (RAW, BOUND)]
    exported = export.export(jax.jit(case))(*shapes)
    found, (expected, *_) = exported.call(RAW, BOUND), compiled(case)(COTANGENT, RAW, BOUND)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@each
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_strict_promotion_of_one_dtype(case, dtype):
    raw, bound = RAW.astype(dtype), BOUND.astype(dtype)
    with jax.numpy_dtype_promotion("strict"):  # which is of tracing
        output = jax.eval_shape(case, raw, bound)
        slopes = jax.eval_shape(jax.grad(lambda raw: jnp.sum(case(raw, bound))), raw)
    assert output.dtype == slopes.dtype == dtype


@every_affine
def test_strict_promotion_of_built_rows(function):
    with jax.numpy_dtype_promotion("strict"):
        for dtype in (jnp.float32, jnp.bfloat16):
            upper = jnp.ones(3, dtype)
            for rows in (
                box_rows(0.0, upper),
                box_rows(-upper, upper),
                sum_rows(upper[0], size=3),
                sum_rows(1, size=3),
                rate_rows(upper[:2]),
                monotone_rows(3),
                monotone_rows(3, gap=-0.1),
                quantile_rows(3),
                stack_rows(sum_rows(upper[0], size=3), monotone_rows(3)),
            ):
                assert jax.eval_shape(function, jnp.ones(3, dtype), rows).dtype == dtype


def flat(x, axis):
    """Of an array that has three axes: the axis beside these two, and these as one."""
    (other,) = {0, 1, 2} - set(axis)
    return np.moveaxis(np.asarray(x), other, 0).reshape(x.shape[other], -1)


@every_budget
def test_several_axes_share_a_total(budget):
    run = jax.jit(budget, static_argnames="axis")
    raw = np.random.default_rng(0).normal(size=(2, 2, 6)).astype(np.float32)
    total, upper = np.float32([1, 2]), np.linspace(0.1, 1, 24, dtype=np.float32).reshape(2, 2, 6)
    for axis in ((2, 1), (0, 2)):
        found = run(raw, total, upper=upper, axis=axis)
        expected = run(flat(raw, axis), total, upper=flat(upper, axis))
        np.testing.assert_allclose(flat(found, axis), expected, rtol=1e-6)


def test_axes_may_be_negative_a_list_or_all_and_are_checked():
    run = jax.jit(lambda raw, total, axis: budget_rescale(raw, total, axis=axis), static_argnums=2)
    raw = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    expected = np.asarray(run(raw.reshape(2, 12), 2.0, -1)).reshape(2, 3, 4)
    np.testing.assert_allclose(run(raw, 2.0, (-2, -1)), expected, rtol=1e-6)
    np.testing.assert_allclose(budget_rescale(raw, 2.0, axis=[1, 2]), expected, rtol=1e-6)
    np.testing.assert_allclose(run(raw, 1.0, (0, 1, 2)).ravel(), run(raw.ravel(), 1.0, -1))
    for budget in BUDGETS.values():
        with pytest.raises(ValueError, match="several different ones, got \\(1, -2\\)"):
            budget(raw, 1.0, axis=(1, -2))
        with pytest.raises(ValueError, match=r"total must broadcast to \(2,\).*got \(3,\)"):
            budget(raw, jnp.ones(3), axis=(1, 2))


@every_budget
def test_any_axis_any_leading_shape_and_every_transformation(budget):
    raw = jnp.asarray(np.random.default_rng(4).normal(size=(2, 3, 4)), jnp.float32)
    total = jnp.array([[1.0], [2.0]])
    across = budget(raw, total, axis=1)
    np.testing.assert_array_equal(
        across, jnp.moveaxis(budget(jnp.moveaxis(raw, 1, 2), total), 2, 1)
    )
    one_by_one = jax.vmap(jax.vmap(lambda raw, total: budget(raw, total), (0, None)))
    last = budget(raw, total)
    np.testing.assert_allclose(one_by_one(raw, total[:, 0]), last, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(budget)(raw, total), last, rtol=1e-6)
    scanned = jax.lax.scan(lambda carry, raw: (carry, budget(raw, 1.0)), 0, raw)[1]
    np.testing.assert_allclose(scanned, budget(raw, 1.0), rtol=1e-6)
    assert budget(jnp.zeros((2, 0)), 1.0).shape == (2, 0)
    assert budget(jnp.zeros((0, 2)), 1.0).shape == (0, 2)


@every_affine
def test_one_step_has_no_rows(function):
    raw = jnp.array([[3.0], [-1.0]])
    output, slopes = jax.vjp(lambda raw: function(raw, monotone_rows(1)), raw)
    if function is affine_excess:
        assert output.shape == (2, 0)
    else:
        np.testing.assert_array_equal(output, raw)
        np.testing.assert_array_equal(slopes(raw)[0], raw)


def test_lower_comes_before_upper():
    raw, matrix = jnp.array([0.5, 0.7]), jnp.eye(2)
    inside = affine_projection(raw, Rows(matrix, jnp.zeros(2), jnp.ones(2)))
    np.testing.assert_array_equal(inside, raw)
    assert Rows._fields == ("matrix", "lower", "upper")
    upper = affine_projection(3 * raw, Rows(matrix, upper=1.0))
    np.testing.assert_array_equal(upper, [1, 1])


@every_affine
def test_what_is_not_rows_or_crossed_is_refused(function):
    raw, matrix = jnp.array([0.5, 0.7]), jnp.eye(2)
    with pytest.raises(TypeError, match="needs rows as a Rows.*got ArrayImpl.*bounded.sets.Rows"):
        function(raw, matrix)
    with pytest.raises(TypeError, match="got tuple"):
        function(raw, (matrix, 0.0, 1.0))
    crossed = Rows(matrix, jnp.array([0.0, 1.0]), jnp.array([1.0, 0.5]))
    with pytest.raises(ValueError, match="row 1 has lower 1.0 and upper 0.5"):
        function(raw, crossed)
    with pytest.raises(ValueError, match="row 1 has lower 1.0 and upper 0.5"):
        jax.jit(lambda raw: function(raw, crossed))(raw)
    with pytest.raises(ValueError, match="row 0 has lower 0.5 and upper -0.5"):
        function(raw, rate_rows(jnp.array([-0.5])))
    traced = jax.jit(function)(raw, crossed)  # the upper bound wins
    exact = jax.jit(function)(raw, crossed._replace(lower=jnp.array([0.0, 0.5])))
    np.testing.assert_array_equal(traced, exact)


@every_affine
def test_the_output_has_raws_shape(function):
    rows = box_rows(0.0, jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"broadcast to raw's, \(\), but lower has \(3,\)"):
        function(jnp.ones(2), rows)
    if function is not affine_excess:
        assert function(jnp.ones((3, 2)), rows).shape == (3, 2)


def masked(value):
    return np.ma.array(value, mask=np.zeros(np.shape(value), bool))


def test_masked_arrays_are_refused_by_name():
    raw, rows = np.ones(2, np.float32), Rows(np.eye(2), 0.0, np.ones(2))
    for budget in BUDGETS.values():
        name = budget.__name__
        for argument, call in {
            "raw": lambda budget=budget: budget(masked(raw), 1.0),
            "total": lambda budget=budget: budget(raw, masked(1.0)),
            "upper": lambda budget=budget: budget(raw, 1.0, upper=masked(raw)),
        }.items():
            with pytest.raises(TypeError, match=f"{name} cannot take a masked array as {argument}"):
                call()
    for function in AFFINE.values():
        with pytest.raises(TypeError, match="cannot take a masked array as raw"):
            function(masked(raw), rows)
        for field in Rows._fields:
            spoilt = rows._replace(**{field: masked(np.broadcast_to(getattr(rows, field), (2, 2)))})
            with pytest.raises(TypeError, match=rf"cannot take a masked array as rows.{field}"):
                function(np.ones((2, 2), np.float32), spoilt)
    with pytest.raises(TypeError, match="affine_radial cannot take a masked array as interior"):
        affine_radial(raw, rows, interior=masked(raw))
    for build in (rate_rows, partial(sum_rows, size=2), partial(box_rows, 0.0)):
        with pytest.raises(TypeError, match="cannot take a masked array as (limit|total|upper)"):
            build(masked(raw))
    with pytest.raises(TypeError, match="stack_rows cannot take a masked array as rows.upper"):
        stack_rows(rows._replace(upper=masked(raw)))


@each
def test_parameters_of_flax_are_arrays(case):
    found = nnx.jit(case)(nnx.Param(RAW), BOUND)
    expected, *_ = compiled(case)(COTANGENT, RAW, BOUND)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_learnt_totals_bounds_and_lists_are_arrays():
    raw, total = jnp.array([0.5, 1.0, 2.0]), nnx.Param(jnp.array(1.5))
    caps = jnp.array([1.0, 1.0, 0.5])
    upper, listed = nnx.Param(caps), caps.tolist()

    def same(ways):
        """In one program, which their values are constants of."""
        plain, *others = jax.jit(ways)()
        for other in others:
            np.testing.assert_array_equal(other, plain)
        return plain

    for budget in BUDGETS.values():
        plain = same(
            lambda f=budget: (
                f(raw, 1.5, upper=caps),
                f(nnx.Param(raw), total, upper=upper),
                f([0.5, 1.0, 2.0], 1.5, upper=listed),
            )
        )
        found = nnx.jit(lambda raw, *x, budget=budget: budget(raw, x[0], upper=x[1]))
        np.testing.assert_allclose(found(raw, total, upper), plain, rtol=1e-5)
        with pytest.raises(TypeError, match="as total, got str"):
            budget(raw, "much")
    for name, function in AFFINE.items():
        if name == "affine_hardnet":  # needs rows of full rank
            continue
        same(
            lambda f=function: [
                f(of_raw, stack_rows(box_rows(0.0, of_upper), sum_rows(of_sum, size=3)))
                for of_raw, of_upper, of_sum in (
                    (raw, caps, 1.5),
                    (nnx.Param(raw), upper, total),
                    (nnx.Param(raw), listed, total),
                )
            ]
        )
        plain = same(
            lambda f=function: [
                f(raw, box_rows(0.0, caps)),
                *(
                    f([0.5, 1.0, 2.0], Rows(nnx.Param(jnp.eye(3)), 0.0, of_upper))
                    for of_upper in (upper, listed)
                ),
            ]
        )
        found = nnx.jit(lambda raw, upper, f=function: f(raw, Rows(jnp.eye(3), 0.0, upper)))
        np.testing.assert_allclose(found(raw, upper), plain, atol=1e-6)


def test_the_issues_own_inputs():
    with pytest.raises(ValueError, match="lower 1.0 and upper 0.0"):  # meant as 0 <= y <= 1
        affine_projection(jnp.array([0.5, 0.7]), Rows(jnp.eye(2), jnp.ones(2), jnp.zeros(2)))
    over = affine_projection(jnp.array([1e6, 0.9]), box_rows(0.0, jnp.array([1e7, 0.5])))
    np.testing.assert_array_equal(over, [1e6, 0.5])
    one = affine_projection(jnp.array([0.7]), monotone_rows(1))
    np.testing.assert_array_equal(one, np.float32([0.7]))
    assert budget_softmax(jnp.zeros((2, 3, 4)), jnp.ones(2), axis=(-2, -1)).shape == (2, 3, 4)
    np.testing.assert_allclose(budget_projection([3.0, 1.0], 3.0), [2.5, 0.5])
