"""Forecasts of a hierarchy made to add up, by how much each of them errs.

Employees of three sectors of the United States, of a part of each and of the rest of it, and all
together: ten series, of which six are at the bottom. Each is forecast for itself, a year ahead, by
least squares, so that the forecasts do not add up. Adding up those at the bottom throws the others
away. Projecting all ten keeps them, and moves least what has erred least; numbers of employees stay
at least 0, whatever the forecasts.
"""

import jax.numpy as jnp
import numpy as np

from bounded.sets import affine_projection, hierarchy_rows
from experiments.data.catalogue import FOLDER

MONTHS, TRAINED = 12, 552  # how far ahead; the months before 2001 to learn from
with np.load(FOLDER / "employment.npz") as data:
    sector, part = (data[name].astype(float) for name in ("sector", "part"))
bottom = np.stack([part, sector - part], axis=-1).reshape(-1, 6)
summing = np.concatenate([np.ones((1, 6)), np.kron(np.eye(3), np.ones((1, 2))), np.eye(6)])
series = bottom @ summing.T  # (months, 10)


def forecast(values):
    """A year ahead by the same month of this year and the last two, and a month before."""
    lags = (MONTHS, MONTHS + 1, 2 * MONTHS, 3 * MONTHS)
    first = max(lags)
    inputs = np.stack([values[first - lag : len(values) - lag] for lag in lags], axis=-1)
    inputs = np.append(inputs, np.ones((len(inputs), 1)), axis=-1)
    weights = np.linalg.lstsq(inputs[: TRAINED - first], values[first:TRAINED])[0]
    return np.append(np.full(first, np.nan), inputs @ weights)


base = np.stack([forecast(values) for values in series.T], axis=-1)
errors = (series - base)[:TRAINED]
errors = errors[~np.isnan(errors).any(-1)]
variances = np.mean(errors**2, axis=0)
covariance = errors.T @ errors / len(errors)
shrunk = (covariance + np.diag(variances)) / 2  # halfway to its diagonal

rows = hierarchy_rows(summing, lower=0.0)
held_out = jnp.asarray(base[TRAINED:])
forecasts = {
    "each for itself": held_out,
    "bottom-up": held_out[:, 4:] @ summing.T,
    "projection": affine_projection(held_out, rows),
    "by variances": affine_projection(held_out, rows, weights=1 / variances),
    "by covariances": affine_projection(held_out, rows, weights=np.linalg.inv(shrunk)),
}

truth, scale = series[TRAINED:], series[:TRAINED].std(0)
error = {}
for name, found in forecasts.items():
    error[name] = float(np.sqrt(np.mean(((np.asarray(found) - truth) / scale) ** 2)))
    amiss = np.max(np.abs(found[:, 4:] @ summing.T - found) / np.max(series))
    print(f"{name}: error {error[name]:.3f} of the standard deviation, off the sums by {amiss:.0e}")
