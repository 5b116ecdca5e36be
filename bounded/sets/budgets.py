"""Budgets: outputs that share a total, `0 <= y <= u` and `sum(y) <= total(x)` along an axis.

What the functions share:

* `0 <= output <= upper` holds exactly, in every floating dtype, and so does `sum(output) <= total`
  in float32 and float64, for the sum from the first entry to the last in that dtype. In bfloat16
  and float16, which are computed in float32 and rounded at the end, and for `equality`, the sum is
  right to `2 n eps total`, with n entries.
* `None` or inf means no cap; where the total is inf there is no budget, and the output is
  `clip(raw, 0, upper)`, whatever the function. A negative total or cap is taken as 0, and nothing
  is guaranteed about it. Where the caps cannot take up the total, `equality` gives the caps.
* NaN in raw, a cap or the total gives NaN in that set and in no other, and derivatives of 0.
* Subnormal outputs are 0.
* What each costs is for a set of n entries. That the sum holds takes n steps, one after the other
  for all sets at once; all else is done side by side, but in `budget_sequential`.
* Of several axes the first entry of the sum is that of raw's own order.

Errors: `TypeError` for a raw that is not floating point and for masked arrays; `ValueError` for a
total or caps that do not broadcast, and for an axis that raw does not have, or twice.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from bounded import _arguments, _formulas
from bounded.sets._inputs import array, broadcasts, check_raw, checked_axes, wide

Arrays = tuple[jax.Array, ...]
Formula = Callable[[jax.Array, jax.Array, jax.Array, bool], jax.Array]


def budget_projection(
    raw: ArrayLike,
    total: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    equality: bool = False,
    upper: ArrayLike | None = None,
) -> jax.Array:
    """Euclidean projection onto the budget: the nearest `y` with `0 <= y <= u`, `sum(y) <= total`.

    `y = clip(z - τ, 0, u)`, where τ = 0 if that keeps the total, else the τ with which the sum is
    the total; found exactly, by sorting the 2n places where an entry meets one of its bounds.

    With F the free entries, `0 <= z - τ <= u`, the Jacobian is 1 on F while the sum binds nothing,
    and `I - 1 1ᵀ / |F|` on F once it does: then **the common shift of the free entries is dead**,
    and so is every entry at 0 or at its cap; the rank is `|F| - 1`. The derivative of a free entry
    to the total is `1 / |F|` where the sum binds, and 0 elsewhere.

    Cost: O(n log n) a set.

    Projection onto the simplex: Held, Wolfe and Crowder (1974), Duchi et al. (2008); with caps,
    Brucker (1984), "An O(n) algorithm for quadratic knapsack problems".

    Args:
      raw: the network's last linear output z, any shape.
      total: the budget, of raw's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the total; several axes share one.
      equality: whether the sum must be the total rather than at most it.
      upper: caps u of the single entries, broadcastable to raw.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import budget_projection
      >>> print(budget_projection(jnp.array([3.0, 1.0, -2.0]), 3.0).round(4))
      [2.5 0.5 0. ]
    """
    return _budget("budget_projection", _projection, raw, total, axis, equality, upper)


def budget_softmax(
    raw: ArrayLike,
    total: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    equality: bool = False,
    upper: ArrayLike | None = None,
) -> jax.Array:
    """The total dealt by a softmax: `y = total exp(z) / (1 + sum(exp(z)))`.

    The 1 is a slack class, which keeps what is not spent; with `equality` there is none. With caps
    `y = 1 / (1 / u + exp(-z - θ))`, with θ such that the outputs, and the slack `exp(θ)`, sum to
    the total: the softmax where a cap is infinite, and below every finite one.

    The Jacobian `diag(y) - y yᵀ / total` has full rank, less one with `equality` (a common shift
    changes nothing): **never dead but by underflow and where the total is 0**, where also, with
    caps, the derivative to the total is given as 0. The faces of the set, `y = 0`, `y = u` and
    `sum(y) = total`, are reached only by rounding.

    Cost: O(n) a set; with caps, that for each halving of an interval, of which there are 39 in
    float32 and 68 in float64.

    The softmax layer of Harder et al. (2023, "Hard-constrained deep learning for climate
    downscaling"), with a slack class.

    Args:
      raw: the network's last linear output z, any shape.
      total: the budget, of raw's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the total; several axes share one.
      equality: whether the sum must be the total rather than at most it.
      upper: caps u of the single entries, broadcastable to raw.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import budget_softmax
      >>> print(budget_softmax(jnp.zeros(3), 2.0).round(4))
      [0.5 0.5 0.5]
    """
    formula = _softmax if upper is None else _capped_softmax
    return _budget("budget_softmax", formula, raw, total, axis, equality, upper)


def budget_sequential(
    raw: ArrayLike,
    total: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    equality: bool = False,
    upper: ArrayLike | None = None,
) -> jax.Array:
    """Stick-breaking: each entry in turn takes a share of what is left.

    `y_k = l_k + (h_k - l_k) σ(z_k - log(m_k))` with σ the logistic function, `h_k` the smaller of
    its cap and what is left, and `l_k` what the caps after it could not take up with `equality`,
    else 0; `m_k` is the number of classes after k, the slack among them, so that raw = 0 deals
    evenly where there are no caps. The order of the entries matters.

    The Jacobian is triangular with diagonal `(h_k - l_k) σ σ'`: **dead where nothing is left** and
    by underflow; with `equality` the last entry is what remains, whatever its raw.

    Cost: O(n) a set, one entry after the other.

    The transform of a simplex in Stan (Stan reference manual, "Constraint transforms") and the
    stick-breaking bijector of NumPyro, with caps.

    Args:
      raw: the network's last linear output z, any shape.
      total: the budget, of raw's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the total; several axes share one.
      equality: whether the sum must be the total rather than at most it.
      upper: caps u of the single entries, broadcastable to raw.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import budget_sequential
      >>> print(budget_sequential(jnp.zeros(3), 2.0).round(4))
      [0.5 0.5 0.5]
    """
    return _budget("budget_sequential", _sequential, raw, total, axis, equality, upper)


def budget_rescale(
    raw: ArrayLike,
    total: ArrayLike,
    *,
    axis: int | Sequence[int] = -1,
    equality: bool = False,
    upper: ArrayLike | None = None,
) -> jax.Array:
    """Nonnegative outputs, scaled down where they exceed the total.

    With `r = clip(z, 0, u)`, `y = r min(1, total / sum(r))`. With `equality`, what is missing is
    added in proportion to the room below the caps, `min(u, total) - r`.

    **Dead where z lies outside [0, u]**, and where the sum exceeds the total also along r itself:
    scaling all outputs alike changes nothing. The derivative to the total is `r / sum(r)` there.

    Cost: O(n) a set.

    The multiplicative layer of Harder et al. (2023, "Hard-constrained deep learning for climate
    downscaling"), for an inequality.

    Args:
      raw: the network's last linear output z, any shape.
      total: the budget, of raw's shape without `axis`, or what broadcasts to that.
      axis: along which the outputs share the total; several axes share one.
      equality: whether the sum must be the total rather than at most it.
      upper: caps u of the single entries, broadcastable to raw.

    Example:
      >>> import jax.numpy as jnp
      >>> from bounded.sets import budget_rescale
      >>> print(budget_rescale(jnp.array([3.0, 1.0, -2.0]), 2.0).round(4))
      [1.5 0.5 0. ]
    """
    return _budget("budget_rescale", _rescale, raw, total, axis, equality, upper)


def _budget(
    name: str,
    formula: Formula,
    raw: ArrayLike,
    total: ArrayLike,
    axis: int | Sequence[int],
    equality: bool,
    upper: ArrayLike | None,
) -> jax.Array:
    """What all budgets share: arguments, the entries without a budget, rounding, and NaN."""
    raw, total = array(name, "raw", raw), array(name, "total", total)
    upper = array(name, "upper", jnp.inf if upper is None else upper)
    dtype = _check_types(name, raw, total, upper)
    axes = checked_axes(name, raw, axis)
    rest = tuple(i for i in range(raw.ndim) if i not in axes)
    of_sets = tuple(raw.shape[i] for i in rest)
    for what, value, shape in (("total", total, of_sets), ("upper", upper, raw.shape)):
        if not broadcasts(value.shape, shape):
            raise ValueError(
                f"{name}: {what} must broadcast to {shape}, "
                f"raw's shape{' without the axis' * (what == 'total')}, got {value.shape}."
            )
    total, upper = (_arguments.bound(*x, dtype) for x in (("total", total), ("upper", upper)))
    total, upper = jnp.broadcast_to(total, of_sets), jnp.broadcast_to(upper, raw.shape)
    if 0 in [raw.shape[i] for i in axes]:
        return raw.astype(dtype)

    # The set comes last, flat.
    size = math.prod(raw.shape[i] for i in axes)
    raw, upper = (x.astype(wide(dtype)).transpose(*rest, *axes) for x in (raw, upper))
    shape = raw.shape
    raw, upper = (x.reshape(*of_sets, size) for x in (raw, upper))
    output: jax.Array = _hold(formula, raw, total.astype(wide(dtype))[..., None], upper, equality)
    back = np.argsort([*rest, *axes])
    output = output.reshape(shape).transpose(*back)
    return output.astype(dtype)


def _check_types(name: str, raw: jax.Array, total: jax.Array, upper: jax.Array) -> jnp.dtype:
    """That of the output."""
    check_raw(name, raw)
    dtype = jnp.result_type(raw, total, upper)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(f"{name} needs a real total and real caps, got {dtype}.")
    return dtype


@partial(jax.jit, static_argnums=(0, 4))  # so that an eager call compiles its loops but once
def _hold(
    formula: Formula, raw: jax.Array, total: jax.Array, upper: jax.Array, equality: bool
) -> jax.Array:
    unknown = jnp.isnan(total) | jnp.any(jnp.isnan(raw) | jnp.isnan(upper), -1, keepdims=True)
    zeros = jnp.zeros_like(unknown, raw.dtype)  # lays all out on a mesh alike
    # A set that is NaN is computed as another, so that no derivative is NaN.
    raw, total, upper = (
        jnp.where(unknown, instead, x + zeros) for x, instead in ((raw, 0), (total, 1), (upper, 1))
    )
    total, upper = (_formulas.at_least(x, jnp.zeros_like(x)) for x in (total, upper))
    unlimited = jnp.isinf(total)
    finite = jnp.where(unlimited, 1, total)
    output = _keep(formula(raw, finite, upper, equality), finite, upper)
    output = jnp.where(unlimited, _formulas.clip(raw, jnp.zeros_like(raw), upper), output)
    return jnp.where(unknown, jnp.nan, output)


@jax.custom_jvp
def _keep(output: jax.Array, total: jax.Array, upper: jax.Array) -> jax.Array:
    """The output without what rounding put outside: `0 <= output <= upper`, and its entries, added
    from the first to the last, make no more than the total. Rounding has no derivative."""

    def step(spent: jax.Array, column: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        value, cap = column
        room = total[..., 0] - spent
        room = jnp.where(spent + room > total[..., 0], jnp.nextafter(room, 0.0), room)
        value = _formulas.at_most(_formulas.at_most(value, cap), room)
        # XLA on CPU takes subnormal numbers for zeros, in sums too: so they are made zeros.
        value = jnp.where(value < jnp.finfo(value.dtype).tiny, 0, value)
        return spent + value, value

    columns = (jnp.moveaxis(output, -1, 0), jnp.moveaxis(upper, -1, 0))
    kept = lax.scan(step, jnp.zeros_like(total[..., 0]), columns, unroll=min(16, output.shape[-1]))
    return jnp.moveaxis(kept[1], 0, -1)


_keep.defjvps(lambda dot, kept, output, total, upper: dot, None, None)


def _sum(x: jax.Array) -> jax.Array:
    return jnp.sum(x, axis=-1, keepdims=True)


def _max(x: jax.Array) -> jax.Array:
    return jnp.max(x, axis=-1, keepdims=True)


def _projection(raw: jax.Array, total: jax.Array, upper: jax.Array, equality: bool) -> jax.Array:
    return _project(raw, total, upper, equality)[0]


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _project(raw: jax.Array, total: jax.Array, upper: jax.Array, equality: bool) -> Arrays:
    """The projection; which entries are free, which at their caps, and which free ones the sum
    binds, as 0 and 1."""
    inside = _formulas.clip(raw, jnp.zeros_like(raw), upper)
    binding = jnp.ones_like(total, bool) if equality else _sum(inside) > total
    caps = jnp.minimum(upper, total)
    shifted = jnp.where(binding, _shifted(raw, total, caps), raw)
    output = jnp.where(binding, jnp.clip(shifted, 0, caps), inside)
    free = (shifted >= 0) & (shifted <= upper)
    return output, *(x.astype(raw.dtype) for x in (free, shifted > upper, free & binding))


@_project.defjvp
def _project_jvp(equality: bool, primals: Arrays, tangents: Arrays) -> tuple[Arrays, Arrays]:
    raw_dot, total_dot, upper_dot = tangents
    answer = _project(*primals, equality)
    _, free, capped, bound = answer
    dot = jnp.where(free > 0, raw_dot, jnp.where(capped > 0, upper_dot, 0))
    missing = (total_dot - _sum(dot)) / jnp.maximum(_sum(free), 1)
    moved = dot + jnp.where(bound > 0, missing, 0)
    return answer, (moved, *(jnp.zeros_like(x) for x in answer[1:]))


def _shifted(raw: jax.Array, total: jax.Array, caps: jax.Array) -> jax.Array:
    """`raw - τ` with `sum(clip(raw - τ, 0, caps)) = total`, for finite caps; where they cannot take
    up the total, with a τ that puts all at their caps."""
    # The sum is linear in τ between the 2n places where an entry leaves 0 or reaches its cap: from
    # the highest such τ down, the last at which the sum is below the total. A place is kept as
    # (raw, offset), so that entries are compared with each other before anything small is added.
    offsets = jnp.concatenate([jnp.zeros_like(caps), caps], axis=-1)
    origins = jnp.concatenate([raw, raw], axis=-1)
    _, offsets, origins = lax.sort((offsets - origins, offsets, origins), num_keys=2)

    def at(place: jax.Array) -> jax.Array:
        origin, offset = (jnp.take_along_axis(x, place, axis=-1) for x in (origins, offsets))
        return (raw - origin) + offset

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) // 2
        fits = _sum(jnp.clip(at(middle), 0, caps)) < total
        return jnp.where(fits, middle, low), jnp.where(fits, high, middle)

    places = origins.shape[-1]
    ends = jnp.zeros_like(total, int), jnp.full_like(total, places, int)
    last, _ = lax.fori_loop(0, places.bit_length(), halve, ends)
    shifted = at(last)
    for _ in range(3):  # one is enough where no two places are alike but for rounding
        missing = total - _sum(jnp.clip(shifted, 0, caps))
        moves = jnp.where(
            missing > 0, (shifted >= 0) & (shifted < caps), (shifted > 0) & (shifted <= caps)
        )
        shifted = shifted + missing / jnp.maximum(_sum(moves.astype(raw.dtype)), 1)
    return shifted


def _softmax(raw: jax.Array, total: jax.Array, upper: jax.Array, equality: bool) -> jax.Array:
    if equality:
        return total * jax.nn.softmax(raw)
    with_slack = jnp.concatenate([raw, jnp.zeros_like(total)], axis=-1)
    return total * jax.nn.softmax(with_slack)[..., :-1]


@partial(jax.custom_jvp, nondiff_argnums=(3,))
def _capped_softmax(
    raw: jax.Array, total: jax.Array, upper: jax.Array, equality: bool
) -> jax.Array:
    """θ by bisection, counted from the largest class; with `equality` the last digits of the sum by
    `_fill`, where θ may have too few."""
    classes = jnp.concatenate([raw, jnp.full_like(total, -jnp.inf if equality else 0)], axis=-1)
    classes = classes - _max(classes)
    raw, slack = classes[..., :-1], classes[..., -1:]
    low = jnp.log(total) - jnp.log(_sum(jnp.exp(classes)))
    uncapped = jnp.concatenate([jnp.where(jnp.isinf(upper), raw, -jnp.inf), slack], axis=-1)
    most = jnp.log(total) - _max(uncapped)
    sated = _max(jnp.log(upper) - raw) + 40
    high = jnp.maximum(jnp.where(jnp.isfinite(most), most, sated), low)

    def output(theta: jax.Array) -> jax.Array:
        return 1 / (1 / upper + jnp.exp(-(raw + theta)))

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = low / 2 + high / 2
        over = _sum(output(middle)) + jnp.exp(middle + slack) > total
        return jnp.where(over, low, middle), jnp.where(over, middle, high)

    low, _ = lax.fori_loop(0, jnp.finfo(raw.dtype).nmant + 16, halve, (low, high))
    found = jnp.where(total > 0, output(low), 0)
    return _fill(found, total, upper) if equality else found


@_capped_softmax.defjvp
def _capped_softmax_jvp(
    equality: bool, primals: Arrays, tangents: Arrays
) -> tuple[jax.Array, jax.Array]:
    raw, total, upper = primals
    output = _capped_softmax(raw, total, upper, equality)
    raw_dot, total_dot, upper_dot = tangents
    share = output / jnp.where(upper > 0, upper, 1)
    slope, of_upper = output * (1 - share), jnp.where(jnp.isinf(upper), 0, share**2 * upper_dot)
    spread = _sum(slope) + (0 if equality else total - _sum(output))
    missing = total_dot - _sum(slope * raw_dot + of_upper)
    theta_dot = jnp.where(spread > 0, missing / jnp.where(spread > 0, spread, 1), 0)
    return output, slope * (raw_dot + theta_dot) + of_upper


def _sequential(raw: jax.Array, total: jax.Array, upper: jax.Array, equality: bool) -> jax.Array:
    count = raw.shape[-1]
    after = np.maximum(np.arange(count, 0, -1) - equality, 1)
    later = lax.associative_scan(jnp.add, upper, reverse=True, axis=upper.ndim - 1)
    later = jnp.concatenate([later[..., 1:], jnp.zeros_like(total)], axis=-1)

    def step(left: jax.Array, column: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        share, cap, later = column
        high = _formulas.at_most(left, cap)
        low = _formulas.at_least(left - later, jnp.zeros_like(left)) if equality else 0 * left
        low = _formulas.at_most(low, high)
        value = _formulas.below(low + (high - low) * share, high)
        return _formulas.at_least(left - value, jnp.zeros_like(left)), value

    share = _formulas.sigmoid(
        raw - jnp.broadcast_to(jnp.log(jnp.asarray(after, raw.dtype)), raw.shape)
    )
    columns = tuple(jnp.moveaxis(x, -1, 0) for x in (share, upper, later))
    return jnp.moveaxis(lax.scan(step, total[..., 0], columns, unroll=min(16, count))[1], 0, -1)


def _rescale(raw: jax.Array, total: jax.Array, upper: jax.Array, equality: bool) -> jax.Array:
    wanted = _formulas.clip(raw, jnp.zeros_like(raw), upper)
    over = _sum(wanted) > total
    shares = wanted / _ample(raw)
    all_shares = _sum(shares)
    lessened = total * (shares / jnp.where(over & (all_shares > 0), all_shares, 1))
    kept = jnp.where(over, 0, wanted)
    return jnp.where(over, lessened, _fill(kept, total, upper) if equality else wanted)


def _fill(output: jax.Array, total: jax.Array, upper: jax.Array) -> jax.Array:
    """The output, its sum raised to the total in proportion to the room below the caps."""
    room = _formulas.at_most(upper, jnp.broadcast_to(total, upper.shape)) - output
    all_room = _sum(room / _ample(room))
    missing = total / _ample(room) - _sum(output / _ample(room))
    share = missing / jnp.where(all_room > 0, all_room, 1)
    return output + room * _formulas.at_most(share, jnp.ones_like(share))


def _ample(x: jax.Array) -> int:
    """A power of two by which to divide x, so that neither the sum of its entries overflows nor the
    inverse of that sum underflows."""
    return int(2 ** (3 + x.shape[-1].bit_length()))
