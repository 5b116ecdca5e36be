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
    nonlinear_projection,
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
from tests.sampled import sampled

pytestmark = pytest.mark.usefixtures("unoptimised")
FEW = [
    FULLEST[name]
    for name in (
        "budget_sequential, capped, equal",
        "affine_projection, weighted by a matrix",
        "cone_projection",
    )
]
SIMPLE = FEW[:1]  # the one of them with a loop that compiles soon
RULES = [CASES["budget_softmax, capped"], CASES["affine_hardnet, equal"]]
# What has rules or loops of its own, but for nonlinear_projection: test_nonlinear.py.
OF_THEIR_OWN = [
    *FEW,
    *RULES,
    FULLEST["ball_radial, centered"],
    FULLEST["budget_rescale, capped, equal"],
]
simple = pytest.mark.parametrize("case", sampled(FULLEST.values(), SIMPLE), ids=FULLEST)
one_budget = pytest.mark.parametrize(  # what is done around them is the same for all
    "budget", sampled(BUDGETS.values(), [budget_rescale])
)
every_affine = pytest.mark.parametrize("function", AFFINE.values(), ids=AFFINE)
two_affine = pytest.mark.parametrize(
    "function", sampled(AFFINE.values(), (affine_projection, affine_hardnet))
)


COTANGENT = np.cos(RAW)


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


@pytest.mark.parametrize("case", sampled(CASES.values(), OF_THEIR_OWN), ids=CASES)
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


SPOILT = np.array([[1, 1], [1, np.nan]], np.float32)
EYES = np.stack([np.eye(2, dtype=np.float32)] * 2)
SPOILT_EYES = np.array(EYES)
SPOILT_EYES[1, 0, 0] = np.nan
WITH_CAPS = {
    name: (lambda raw, upper, f=budget: f(raw, 1.0, upper=upper), [SPOILT])
    for name, budget in BUDGETS.items()
}
WITH_MATRICES = {
    name: (
        lambda raw, matrix, lower, f=function: f(raw, Rows(matrix, lower, 3.0)),
        [SPOILT_EYES, np.ones((2, 2), np.float32)],
        [EYES, SPOILT],
    )
    for name, function in AFFINE.items()
}
WITH_INTERIORS = {
    f"{function.__name__}, interior": (
        lambda raw, point, f=function: f(raw, Rows(EYES[0], upper=2.0), interior=point),
        [SPOILT],
    )
    for function in (affine_projection, affine_hardnet, *RADIAL)
}
WITH_CENTERS = {
    name: (lambda raw, center, f=ball: f(raw, 1.0, center=center), [SPOILT])
    for name, ball in BALLS.items()
}
SPOILABLE = WITH_CAPS | WITH_MATRICES | WITH_INTERIORS | WITH_CENTERS
MOST_SPOILABLE = (
    "budget_sequential",
    "affine_projection",
    "affine_hardnet",
    "affine_radial, interior",
    "ball_projection",
)


@pytest.mark.parametrize("name", sampled(SPOILABLE, MOST_SPOILABLE))
def test_a_masked_nan_in_a_cap_a_matrix_or_an_interior_does_not_either(name):
    function, *spoilt = SPOILABLE[name]
    raw = np.array([[2.0, 1.0], [1.0, 2.0]], np.float32)

    def total(*arguments):
        output = function(*arguments)
        known = np.array([True, False]).reshape(-1, *[1] * (output.ndim - 1))
        return jnp.sum(jnp.where(known, output, 0.0))

    gradient = jax.jit(jax.grad(total, range(1 + len(spoilt[0]))))
    for arguments in spoilt:
        for slopes in gradient(raw, *arguments):
            assert np.isfinite(slopes[0]).all()
            np.testing.assert_array_equal(slopes[1], 0)


@pytest.mark.parametrize(
    "case",
    sampled(
        CASES.values(),
        [CASES["budget_sequential, capped"], CASES["cone_projection"], *RULES],
    ),
    ids=CASES,
)
def test_second_derivatives_are_those_of_finite_differences(case, x64):
    raw, bound = np.float64(RAW), np.float64(BOUND)
    direction = np.array([[0.3, -0.7, 1.1]])
    weight = np.array([[1.0, -0.4, 0.7]])

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


@simple  # second derivatives are taken forward over backward
def test_forward_mode_agrees_with_backward(case):
    tangent = np.sin(np.arange(12, dtype=np.float32)).reshape(4, 3), np.cos(np.float32(range(4)))
    output, dot = jax.jit(lambda *x: jax.jvp(case, x, tangent))(RAW, BOUND)
    assert output.shape == RAW.shape
    _, *slopes = compiled(case)(COTANGENT, RAW, BOUND)
    backward = sum(np.sum(x * t) for x, t in zip(slopes, tangent, strict=True))
    np.testing.assert_allclose(np.sum(dot * COTANGENT), backward, rtol=1e-4, atol=1e-5)


TESTED_ELSEWHERE = (
    "budget",
    "affine_hardnet",
    "affine_projection",
    "affine_radial",
    "affine_soft_radial",
    "nonlinear_projection",
)
HERE = {name: case for name, case in FULLEST.items() if not name.startswith(TESTED_ELSEWHERE)}


@pytest.mark.parametrize(
    "case",
    sampled(HERE.values(), (FULLEST["ball_radial, centered"], FULLEST["cone_projection"])),
    ids=HERE,
)
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


def on_shards(case):
    """Where all shards share a part of their bounds, its slope is the sum of theirs."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    specs = P("data"), P("data"), P()
    return jax.shard_map(
        with_slopes(lambda raw, own, shared: case(raw, own + shared)),
        mesh=mesh,
        in_specs=(P("data"), *specs),
        out_specs=(P("data"), *specs),
    )


SHARED = np.float32(0.25)
ON_SHARDS = COTANGENT, RAW, BOUND - SHARED, SHARED


def explicit():
    """A mesh, and how arrays lie on it."""
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Explicit,))
    return jax.set_mesh(mesh), NamedSharding(mesh, P("data"))


def of_any_batch():
    (batch,) = export.symbolic_shape("batch")
    return [jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for x in (RAW, BOUND)]


# Of each kind another than above, or one that takes long to compile.
TRACED = [
    FULLEST[name]
    for name in (
        "budget_projection, capped, equal",
        "affine_hardnet, batched",
        "affine_projection, weighted by a matrix",
        "ball_radial, centered",
        "cone_projection",
    )
]


@pytest.mark.parametrize(
    "case", sampled(FULLEST.values(), [*TRACED, FULLEST["nonlinear_projection"]]), ids=FULLEST
)
@pytest.mark.usefixtures("two_devices")
def test_it_is_traced_on_meshes(case):
    """What a function cannot do there fails so; the values of a few are below."""
    jax.eval_shape(on_shards(case), *ON_SHARDS)
    mesh, lie = explicit()
    with mesh:
        shapes = (
            jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=lie) for x in (COTANGENT, RAW, BOUND)
        )
        output, *_ = jax.eval_shape(with_slopes(case), *shapes)
    assert output.sharding.spec[0] == "data"


@pytest.mark.parametrize("case", sampled(FULLEST.values(), TRACED), ids=FULLEST)
def test_it_is_traced_of_any_batch_and_of_parameters(case):
    """As above."""
    assert jax.eval_shape(case, *of_any_batch()).shape[1:] == (3,)
    assert nnx.eval_shape(case, nnx.Param(RAW), BOUND).shape == (4, 3)


@simple
@pytest.mark.usefixtures("two_devices")
def test_it_works_under_shard_map_with_its_checks(case):
    found = jax.jit(on_shards(case))(*ON_SHARDS)
    expected = compiled(case)(COTANGENT, RAW, BOUND)
    for one, other in zip(found, (*expected, np.sum(expected[-1])), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-6)


@simple
@pytest.mark.usefixtures("two_devices")
def test_it_works_on_a_mesh_of_explicit_axes(case):
    mesh, lie = explicit()
    with mesh:
        cotangent, raw, bound = jax.device_put((COTANGENT, np.array(RAW), np.array(BOUND)), lie)
        found = jax.jit(with_slopes(case))(cotangent, raw, bound)
        assert jax.typeof(found[0]).sharding.spec[0] == "data"
        if case is FULLEST["affine_hardnet, batched"]:  # step by step, each is typed alike
            found = *found, case(raw, bound)
    expected = compiled(case)(COTANGENT, RAW, BOUND)
    for one, other in zip(found, (*expected, expected[0])[: len(found)], strict=True):
        np.testing.assert_allclose(one, np.asarray(other), rtol=1e-5, atol=1e-6)


@simple
def test_it_is_exported_with_a_symbolic_batch(case):
    exported = export.export(jax.jit(case))(*of_any_batch())
    found, (expected, *_) = exported.call(RAW, BOUND), compiled(case)(COTANGENT, RAW, BOUND)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_has_lapack_in_it_is_exported_too():
    """As above, of few rows."""
    project = jax.jit(partial(nonlinear_projection, inequality=lambda y: y @ y - 1))
    found = export.export(project)(of_any_batch()[0]).call(RAW)
    length = np.linalg.norm(RAW, axis=-1, keepdims=True)
    np.testing.assert_allclose(found, RAW / np.maximum(length, 1), rtol=1e-5)


@pytest.mark.parametrize("case", sampled(FULLEST.values(), [*SIMPLE, *TRACED]), ids=FULLEST)
@pytest.mark.parametrize("dtype", sampled(["float32", "bfloat16"], {"bfloat16"}))
def test_strict_promotion_of_one_dtype(case, dtype):
    raw, bound = RAW.astype(dtype), BOUND.astype(dtype)
    with jax.numpy_dtype_promotion("strict"):  # which is of tracing
        output, slopes, _ = jax.eval_shape(with_slopes(case), raw, raw, bound)
    assert output.dtype == slopes.dtype == dtype


@pytest.mark.parametrize("function", sampled(AFFINE.values(), [affine_hardnet]))
@pytest.mark.parametrize("dtype", sampled(["float32", "bfloat16"], {"bfloat16"}))
def test_strict_promotion_of_built_rows(function, dtype):
    def through_all(raw, upper):
        sets = (
            box_rows(0.0, upper),
            box_rows(-upper, upper),
            sum_rows(upper[0], size=3),
            sum_rows(1, size=3),
            rate_rows(upper[:2]),
            monotone_rows(3),
            monotone_rows(3, gap=-0.1),
            quantile_rows(3),
            stack_rows(sum_rows(upper[0], size=3), monotone_rows(3)),
        )
        return [function(raw, rows) for rows in sets]

    of_three = jax.ShapeDtypeStruct((3,), dtype)
    with jax.numpy_dtype_promotion("strict"):
        outputs = jax.eval_shape(through_all, of_three, of_three)
    assert all(output.dtype == dtype for output in outputs)


def flat(x, axis):
    """Of an array that has three axes: the axis beside these two, and these as one."""
    (other,) = {0, 1, 2} - set(axis)
    return np.moveaxis(np.asarray(x), other, 0).reshape(x.shape[other], -1)


@one_budget
def test_several_axes_share_a_total(budget):
    run = jax.jit(budget, static_argnames="axis")
    raw = np.random.default_rng(0).normal(size=(2, 2, 3)).astype(np.float32)
    total, upper = np.float32([1, 2]), np.linspace(0.1, 1, 12, dtype=np.float32).reshape(2, 2, 3)
    for axis in ((2, 1), (0, 2)):
        found = run(raw, total, upper=upper, axis=axis)
        expected = run(flat(raw, axis), total, upper=flat(upper, axis))
        np.testing.assert_allclose(flat(found, axis), expected, rtol=1e-6)


def test_axes_may_be_negative_a_list_or_all_and_are_checked():
    raw = np.random.default_rng(0).normal(size=(2, 2, 3)).astype(np.float32)
    one_by_one, last_two, listed, together, of_all = jax.jit(
        lambda raw: (
            budget_rescale(raw.reshape(2, 6), 2.0).reshape(2, 2, 3),
            budget_rescale(raw, 2.0, axis=(-2, -1)),
            budget_rescale(raw, 2.0, axis=[1, 2]),
            budget_rescale(raw.ravel(), 1.0),
            budget_rescale(raw, 1.0, axis=(0, 1, 2)),
        )
    )(raw)
    np.testing.assert_allclose(last_two, one_by_one, rtol=1e-6)
    np.testing.assert_allclose(listed, one_by_one, rtol=1e-6)
    np.testing.assert_allclose(of_all.ravel(), together)
    for budget in BUDGETS.values():
        with pytest.raises(ValueError, match="several different ones, got \\(1, -2\\)"):
            budget(raw, 1.0, axis=(1, -2))
        with pytest.raises(ValueError, match=r"total must broadcast to \(2,\).*got \(3,\)"):
            budget(raw, np.ones(3), axis=(1, 2))


@one_budget
def test_any_axis_any_leading_shape_and_every_transformation(budget):
    raw = np.random.default_rng(4).normal(size=(2, 2, 3)).astype(np.float32)
    total = np.float32([[1], [2]])
    run = jax.jit(
        lambda raw, total: (
            budget(raw, total, axis=0),
            budget(jnp.moveaxis(raw, 0, 2), total),
            jax.vmap(jax.vmap(budget, (0, None)))(raw, total[:, 0]),
            budget(raw, total),
            jax.lax.scan(lambda carry, raw: (carry, budget(raw, 1.0)), 0, raw)[1],
            budget(raw, 1.0),
        )
    )
    across, moved, mapped, last, scanned, of_one = jax.device_get(run(raw, total))
    np.testing.assert_array_equal(across, np.moveaxis(moved, 2, 0))
    np.testing.assert_allclose(mapped, last, rtol=1e-6)
    np.testing.assert_allclose(scanned, of_one, rtol=1e-6)
    for empty in ((2, 0), (0, 2)):
        raw = jax.ShapeDtypeStruct(empty, np.float32)
        assert jax.eval_shape(budget, raw, 1.0).shape == empty


@every_affine
def test_one_step_has_no_rows(function):
    raw = np.float32([[3], [-1]])
    through = partial(function, rows=monotone_rows(1))
    if function is affine_excess:
        assert jax.eval_shape(through, raw).shape == (2, 0)
    else:
        for one in jax.jit(with_slopes(through))(raw, raw):
            np.testing.assert_array_equal(one, raw)


@every_affine
def test_what_is_not_rows_or_crossed_is_refused(function):
    raw, matrix = np.float32([0.5, 0.7]), np.eye(2, dtype=np.float32)
    with pytest.raises(TypeError, match="needs rows as a Rows.*got ArrayImpl.*bounded.sets.Rows"):
        function(raw, jnp.asarray(matrix))
    with pytest.raises(TypeError, match="got tuple"):
        function(raw, (matrix, 0.0, 1.0))
    crossed = Rows(matrix, np.float32([0.0, 1.0]), np.float32([1.0, 0.5]))
    with pytest.raises(ValueError, match="row 1 has lower 1.0 and upper 0.5"):
        function(raw, crossed)
    with pytest.raises(ValueError, match="row 1 has lower 1.0 and upper 0.5"):
        jax.jit(lambda raw: function(raw, crossed))(raw)
    with pytest.raises(ValueError, match="row 0 has lower 0.5 and upper -0.5"):
        function(raw, rate_rows(np.float32([-0.5])))


def test_lower_comes_before_upper():
    raw = np.float32([0.5, 0.7])
    rows = Rows(np.eye(2, dtype=np.float32), np.zeros(2, np.float32), np.ones(2, np.float32))
    for function in (affine_projection, affine_hardnet):
        run = jax.jit(function)  # compiled once with those below
        np.testing.assert_array_equal(run(raw, rows), raw)
        np.testing.assert_array_equal(run(3 * raw, rows), [1, 1])
    assert Rows._fields == ("matrix", "lower", "upper")


@two_affine
def test_of_traced_rows_that_are_crossed_the_upper_bound_wins(function):
    raw, run = np.float32([0.5, 0.7]), jax.jit(function)
    crossed = Rows(np.eye(2, dtype=np.float32), np.float32([0, 1]), np.float32([1, 0.5]))
    exact = run(raw, crossed._replace(lower=np.float32([0, 0.5])))
    np.testing.assert_array_equal(run(raw, crossed), exact)


@every_affine
def test_the_output_has_raws_shape(function):
    rows = box_rows(0.0, np.ones((3, 2), np.float32))
    with pytest.raises(ValueError, match=r"broadcast to raw's, \(\), but lower has \(3,\)"):
        function(np.ones(2, np.float32), rows)
    if function is not affine_excess:
        found = jax.eval_shape(partial(function, rows=rows), np.ones((3, 2), np.float32))
        assert found.shape == (3, 2)


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


@simple
def test_parameters_of_flax_are_arrays(case):
    found = nnx.jit(case)(nnx.Param(RAW), BOUND)
    expected, *_ = compiled(case)(COTANGENT, RAW, BOUND)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


LEARNT_RAW, CAPS = np.float32([0.5, 1, 2]), np.float32([1, 1, 0.5])
TOTAL, UPPER, LISTED = nnx.Param(jnp.array(1.5)), nnx.Param(jnp.array(CAPS)), CAPS.tolist()


def same(ways):
    """In one program, which their values are constants of."""
    plain, *others = jax.jit(ways)()
    for other in others:
        np.testing.assert_array_equal(other, plain)
    return plain


@pytest.mark.parametrize("name", sampled(BUDGETS, {"budget_rescale"}))
def test_learnt_totals_caps_and_lists_are_arrays(name):
    budget, raw = BUDGETS[name], LEARNT_RAW
    plain = same(
        lambda: (
            budget(raw, 1.5, upper=CAPS),
            budget(nnx.Param(jnp.array(raw)), TOTAL, upper=UPPER),
            budget(raw.tolist(), 1.5, upper=LISTED),
        )
    )
    found = nnx.jit(lambda raw, total, upper: budget(raw, total, upper=upper))(raw, TOTAL, UPPER)
    np.testing.assert_allclose(found, plain, rtol=1e-5)
    with pytest.raises(TypeError, match="as total, got str"):
        budget(raw, "much")


@pytest.mark.parametrize(
    "name",
    # One needs rows of full rank. What is done before the rest is the same for all.
    sampled([name for name in AFFINE if name != "affine_hardnet"], {"affine_excess"}),
)
def test_learnt_bounds_and_lists_are_arrays(name):
    function, raw = AFFINE[name], LEARNT_RAW
    same(
        lambda: [
            function(of_raw, stack_rows(box_rows(0.0, upper), sum_rows(total, size=3)))
            for of_raw, upper, total in (
                (raw, CAPS, 1.5),
                (nnx.Param(jnp.array(raw)), UPPER, TOTAL),
                (nnx.Param(jnp.array(raw)), LISTED, TOTAL),
            )
        ]
    )
    plain = same(
        lambda: [
            function(raw, box_rows(0.0, CAPS)),
            *(
                function(raw.tolist(), Rows(nnx.Param(jnp.eye(3)), 0.0, upper))
                for upper in (UPPER, LISTED)
            ),
        ]
    )
    found = nnx.jit(lambda raw, upper: function(raw, Rows(np.eye(3), 0.0, upper)))(raw, UPPER)
    np.testing.assert_allclose(found, plain, atol=1e-6)


@pytest.mark.thorough  # each is like one above
def test_the_issues_own_inputs():
    with pytest.raises(ValueError, match="lower 1.0 and upper 0.0"):  # meant as 0 <= y <= 1
        affine_projection(jnp.array([0.5, 0.7]), Rows(jnp.eye(2), jnp.ones(2), jnp.zeros(2)))
    over, one, of_a_list, over_two = jax.jit(
        lambda: (
            affine_projection(jnp.array([1e6, 0.9]), box_rows(0.0, jnp.array([1e7, 0.5]))),
            affine_projection(jnp.array([0.7]), monotone_rows(1)),
            budget_projection([3.0, 1.0], 3.0),
            budget_softmax(jnp.zeros((2, 3, 4)), jnp.ones(2), axis=(-2, -1)),
        )
    )()
    np.testing.assert_array_equal(over, [1e6, 0.5])
    np.testing.assert_array_equal(one, np.float32([0.7]))
    np.testing.assert_allclose(of_a_list, [2.5, 0.5])
    assert over_two.shape == (2, 3, 4)
