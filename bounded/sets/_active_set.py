"""Euclidean projection onto `lower <= matrix @ output <= upper`, behind `bounded.sets.affine`.

A dual active-set method (Goldfarb and Idnani, 1983, "A numerically stable dual method for solving
strictly convex quadratic programs"), for a whole batch at once. It starts from raw, with no row
active but those that are equalities in every set, which are taken together, or in their place those
that are known to begin active. A step takes the row that is violated most and moves its multiplier
until the row holds, which makes it active, or until an active row's multiplier reaches 0, which
sets that row free.
Active rows are linearly independent throughout, so that redundant and parallel rows, empty
interiors and vertices with more rows than outputs need no care, and it ends at the projection
after about as many steps as rows are active there.

The output itself is moved, and a row's value is taken from it, so that each row is held to the
rounding of its own terms, however large other outputs and multipliers are. As long as a row is
violated by more than the rounding of the largest value, that is all. Then steps that put active
rows back onto their bounds come first, as long as they help.

Splittings (Dykstra, ADMM, Douglas-Rachford) do less a step and end at a tolerance. Where rows are
redundant or nearly so they need very many of them, for multipliers that change nothing in the
output drift; and their derivative needs the system of the active rows besides, whose inverse is at
hand here.

Rows are of unit norm or zero and lower <= upper. The matrix is (m, n), shared by the whole batch,
or (..., m, n); all else is (..., n) and (..., m).
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from bounded.sets._linear import EXACT, product, solved, transpose


class Solution(NamedTuple):
    """Where the projection lies, and what holds it there."""

    output: jax.Array  # (..., n): raw - matrix.T @ multiplier
    multiplier: jax.Array  # (..., m): positive on an upper bound, negative on a lower one
    side: jax.Array  # (..., m): the active bound, 1 upper, -1 lower, 0 none
    inverse: jax.Array  # (..., m, m): of the active rows' Gram matrix, 0 elsewhere
    residual: jax.Array  # (...): the largest distance of a row from its interval or active bound


class _Place(NamedTuple):
    """Where an output lies."""

    output: jax.Array  # (..., n)
    value: jax.Array  # (..., m): matrix @ output
    noise: jax.Array  # (..., m): what rounding makes of that


class _State(NamedTuple):
    step: jax.Array
    place: _Place
    multiplier: jax.Array
    side: jax.Array
    inverse: jax.Array
    hopeless: jax.Array  # (..., m): depends on the active rows, none of which can give way
    row: jax.Array  # (...): which is made active
    pending: jax.Array  # (...): an active row gave way to it in the last step
    settled: jax.Array  # (...): the last step could not bring active rows closer to their bounds


class _Todo(NamedTuple):
    """What the next step does, (...), at most one of them."""

    pivots: jax.Array  # makes a row active or sets one free
    polishes: jax.Array  # puts active rows back onto their bounds


def amiss(value: jax.Array, side: jax.Array, lower: jax.Array, upper: jax.Array) -> jax.Array:
    """Of each row, how far it is above its interval, or if active above its bound."""
    bound = jnp.where(side < 0, lower, upper)
    return value - jnp.where(side != 0, bound, jnp.clip(value, lower, upper))


@partial(jax.jit, static_argnums=(4, 5))  # so that the loop compiles once where called eagerly
def _solve(
    raw: jax.Array,
    matrix: jax.Array,
    lower: jax.Array,
    upper: jax.Array,
    steps: int,
    begun: int = 0,
) -> Solution:
    """The projection, in at most so many steps.

    The last `begun` rows begin active on their lower bounds, instead of the equalities: raw is
    below, each is of one output alone, and none of two.
    """
    eps = float(jnp.finfo(raw.dtype).eps)
    gram = jnp.matmul(matrix, transpose(matrix), precision=EXACT)
    noise = 4 * eps * jnp.abs(matrix)
    equal = lower == upper
    value = product(matrix, raw)
    if begun:
        last = jnp.diag((jnp.arange(value.shape[-1]) >= value.shape[-1] - begun).astype(raw.dtype))
        inverse = 0 * gram + last.reshape(*(1,) * (gram.ndim - 2), *last.shape)
    else:
        # Most sets have their equalities in the same rows. These are made active at once.
        common = jnp.all(equal, axis=range(equal.ndim - 1))
        inverse = _inverse_of_independent(gram, common, raw.shape[-1])
    held = jnp.diagonal(inverse, axis1=-2, axis2=-1) > 0
    held = jnp.broadcast_to(held, value.shape)
    multiplier = product(inverse, jnp.where(held, value - lower, 0))
    first = raw - product(transpose(matrix), multiplier)

    given = first if begun else raw
    size = jnp.max(jnp.abs(given), axis=-1)
    least = eps * product(noise, jnp.abs(given))  # at a bound of 0 the output has no rounding

    def place_of(output: jax.Array) -> _Place:
        return _Place(output, product(matrix, output), product(noise, jnp.abs(output)) + least)

    start = place_of(first)
    indices = lax.broadcasted_iota(jnp.int32, start.value.shape, start.value.ndim - 1)

    def missed(place: _Place, side: jax.Array, roundings: int = 1) -> jax.Array:
        """Of each active row, how far it is above its bound, if by more than so many roundings."""
        off = place.value - jnp.where(side < 0, lower, upper)
        return jnp.where((side != 0) & (jnp.abs(off) > roundings * place.noise), off, 0)

    def looseness(place: _Place, side: jax.Array, roundings: int = 1) -> jax.Array:
        return jnp.max(jnp.abs(missed(place, side, roundings)), axis=-1)

    def waiting(state: _State) -> jax.Array:
        """Distance outside of each row that may be made active; equalities come first."""
        place = state.place
        outside = jnp.maximum(place.value - upper, lower - place.value)
        outside = jnp.where(outside > place.noise, outside, -jnp.inf)
        outside = jnp.where(equal & ~jnp.isnan(place.value), jnp.inf, outside)
        return jnp.where((state.side != 0) | state.hopeless, -jnp.inf, outside)

    def todo(state: _State) -> _Todo:
        # NaN counts as solved, and shows in the residual.
        largest = jnp.maximum(size, jnp.max(jnp.abs(state.place.value), axis=-1))
        farthest = jnp.max(waiting(state), axis=-1)
        loose = ~state.settled & (looseness(state.place, state.side) > 0)
        far = farthest > 4 * eps * largest
        pivots = state.pending | far | ((farthest > -jnp.inf) & ~loose)
        return _Todo(pivots, loose & ~pivots)

    def advance(state: _State) -> _State:
        pivots, polishes = todo(state)
        value = state.place.value
        row = jnp.where(
            state.pending, state.row, jnp.argmax(waiting(state), axis=-1).astype(jnp.int32)
        )
        entering = indices == row[..., None]
        over, under = (_entry(distance, entering) for distance in (value - upper, lower - value))
        sign = jnp.where(over >= under, 1, -1).astype(raw.dtype)

        # Where the multipliers of the active rows go as that of the row grows by 1, or what they
        # must be raised by to polish.
        active = state.side != 0
        shared = gram.ndim == 2
        column = product(gram, entering.astype(raw.dtype)) if shared else _row(gram, row)
        wanted = jnp.where(polishes[..., None], missed(state.place, state.side), column)
        follow = jnp.where(active, product(state.inverse, jnp.where(active, wanted, 0)), 0)
        # Once more for what the inverse has lost: near a degenerate vertex rows come and go often.
        off = jnp.where(active, wanted - product(gram, follow), 0)
        follow = follow + jnp.where(active, product(state.inverse, off), 0)
        bend = _entry(column, entering) - jnp.sum(column * follow, axis=-1)
        dependent = (bend <= _least_bend(gram)) | (jnp.sum(active, axis=-1) >= raw.shape[-1])
        bend = jnp.where(dependent, 1, bend)
        falling = sign[..., None] * state.side * follow
        blocks = active & ~equal & (falling > 0)
        lasting = jnp.abs(state.multiplier) / jnp.where(blocks, falling, 1)
        lasting = jnp.where(blocks, lasting, jnp.inf)
        freeing = jnp.argmin(lasting, axis=-1)
        leaving = indices == freeing[..., None]
        until_free = jnp.min(lasting, axis=-1)
        until_held = jnp.where(dependent, jnp.inf, jnp.maximum(over, under) / bend)

        stuck = jnp.isinf(until_free) & dependent
        joins = pivots & ~stuck & (until_held <= until_free)
        leaves = pivots & ~stuck & (until_free < until_held)
        length = jnp.where(joins, until_held, jnp.where(leaves, until_free, 0))
        change = jnp.where(entering, 1, -follow)
        moved = jnp.where(polishes[..., None], follow, (sign * length)[..., None] * change)
        place = place_of(state.place.output - product(transpose(matrix), moved))
        # A row that was just within its rounding may be just outside for once.
        before, after = looseness(state.place, state.side), looseness(place, state.side, 2)
        settled = polishes & ~(after < before / 2)
        keeps = settled | ~(pivots | polishes)
        joins_here, leaves_here = joins[..., None] & entering, leaves[..., None] & leaving

        # The inverse of the Gram matrix with the row, or without the one that leaves.
        freed = _row(state.inverse, freeing)
        update = jnp.where(joins[..., None], change, jnp.where(active, freed, 0))
        pivot = jnp.where(leaves, _entry(freed, leaving), 1)
        weight = jnp.where(joins, 1 / bend, jnp.where(leaves, -1 / pivot, 0))
        held = state.hopeless & (equal | ~leaves[..., None])
        return _State(
            step=state.step + 1,
            place=_Place(
                *(
                    jnp.where(keeps[..., None], old, new)
                    for old, new in zip(state.place, place, strict=True)
                )
            ),
            multiplier=jnp.where(
                keeps[..., None],
                state.multiplier,
                jnp.where(leaves_here, 0, state.multiplier + moved),
            ),
            side=jnp.where(joins_here, sign[..., None], jnp.where(leaves_here, 0, state.side)),
            inverse=state.inverse
            + (weight[..., None] * update)[..., :, None] * update[..., None, :],
            hopeless=held | ((pivots & stuck)[..., None] & entering),
            row=row,
            pending=leaves,
            settled=settled | (state.settled & ~pivots),
        )

    zeros = jnp.zeros_like(start.value)
    no_inverse = jnp.zeros_like(zeros[..., None] * zeros[..., None, :])
    state = lax.while_loop(
        lambda state: (state.step < steps) & jnp.any(jnp.stack(todo(state))),
        advance,
        _State(
            step=jnp.zeros((), jnp.int32),
            place=start,
            multiplier=multiplier,
            side=jnp.where(held, jnp.where(multiplier < 0, -1, 1), zeros),
            inverse=jnp.broadcast_to(inverse, no_inverse.shape) + no_inverse,
            hopeless=jnp.zeros_like(zeros, bool),
            row=jnp.zeros_like(size, jnp.int32),
            pending=jnp.zeros_like(size, bool),
            settled=jnp.zeros_like(size, bool),
        ),
    )
    residual = jnp.max(jnp.abs(amiss(state.place.value, state.side, lower, upper)), axis=-1)
    output = jnp.where(jnp.isnan(residual)[..., None], jnp.nan, state.place.output)
    return Solution(output, state.multiplier, state.side, state.inverse, residual)


def _inverse_of_independent(gram: jax.Array, wanted: jax.Array, most: int) -> jax.Array:
    """The inverse of the Gram matrix of rows, without those that depend on the ones before them;
    0 elsewhere.

    Args:
      gram: (..., m, m), of rows of unit norm or zero.
      wanted: (m,), the rows.
      most: how many can be independent.
    """
    indices = lax.broadcasted_iota(jnp.int32, gram.shape[:-1], gram.ndim - 2)
    order = jnp.argsort(~wanted)

    def add(place: jax.Array, inverse: jax.Array) -> jax.Array:
        entering = indices == order[place]
        active = jnp.diagonal(inverse, axis1=-2, axis2=-1) > 0
        column: jax.Array = lax.dynamic_index_in_dim(gram, order[place], -2, keepdims=False)
        follow = product(inverse, column)
        off = jnp.where(active, column - product(gram, follow), 0)
        follow = follow + product(inverse, off)
        bend = _entry(column, entering) - jnp.sum(column * follow, axis=-1)
        joins = (bend > _least_bend(gram)) & (jnp.sum(active, axis=-1) < most)
        change = jnp.where(entering, 1, -follow)
        weight = jnp.where(joins, 1 / jnp.where(joins, bend, 1), 0)
        added: jax.Array = (weight[..., None] * change)[..., :, None] * change[..., None, :]
        return inverse + added

    whole: jax.Array = lax.fori_loop(0, jnp.sum(wanted), add, jnp.zeros_like(gram))
    return whole


project = jax.custom_jvp(_solve, nondiff_argnums=(4, 5))


@project.defjvp
def _project_jvp(
    steps: int, begun: int, primals: tuple[jax.Array, ...], tangents: tuple[jax.Array, ...]
) -> tuple[Solution, Solution]:
    """Of `active @ output = bound` and `output = raw - active.T @ multiplier`."""
    raw, matrix, lower, upper = primals
    raw_dot, matrix_dot, lower_dot, upper_dot = tangents
    solution = project(raw, matrix, lower, upper, steps, begun)
    active, inverse = solution.side != 0, lax.stop_gradient(solution.inverse)

    def gram(vector: jax.Array) -> jax.Array:
        held = product(transpose(matrix), jnp.where(active, vector, 0))
        return jnp.where(active, product(matrix, held), vector)

    free = raw_dot - product(transpose(matrix_dot), solution.multiplier)
    bound_dot = jnp.where(solution.side < 0, lower_dot, upper_dot)
    moved = product(matrix, free) + product(matrix_dot, solution.output) - bound_dot
    moved = jnp.where(active, moved, 0)
    multiplier_dot = solved(gram, inverse, moved)
    output_dot = free - product(transpose(matrix), multiplier_dot)
    still = Solution(*map(jnp.zeros_like, solution))
    return solution, still._replace(output=output_dot, multiplier=multiplier_dot)


def _least_bend(gram: jax.Array) -> float:
    """The squared distance from other rows below which a row counts as dependent on them."""
    least: float = float(jnp.finfo(gram.dtype).eps) ** 0.75
    return least


def _entry(values: jax.Array, where: jax.Array) -> jax.Array:
    return jnp.sum(jnp.where(where, values, 0), axis=-1)


def _row(matrix: jax.Array, row: jax.Array) -> jax.Array:
    return jnp.take_along_axis(matrix, row[..., None, None], axis=-2)[..., 0, :]
