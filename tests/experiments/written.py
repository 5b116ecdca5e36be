"""Records written by hand, for tests of what is made of them: nothing is trained."""

import json
import zlib

import numpy as np

from experiments import store
from experiments.cells import UNTRAINED, Cell, Record
from experiments.data.catalogue import DATASETS
from experiments.training.baselines import BASELINES

BACKBONES = ("bottleneck", "conditioned")
STRATEGIES = (
    "unconstrained",
    "clip",
    "straight_through_clip",
    "smooth_clip",
    "relu_offset",
    "softplus_offset",
    "tanh_interval",
    "clip_at_evaluation",
    "squared_hinge",
    *BASELINES,
)
MSE = {
    "unconstrained": 0.30,
    "clip": 0.25,
    "straight_through_clip": 0.20,
    "smooth_clip": 0.22,
    "relu_offset": 0.80,
    "bound": 2.0,
    "climatology_clipped": 0.5,
    "scaled_bound": 0.45,
    "ridge_clipped": 0.9,
}
OUTSIDE = {"unconstrained": 0.12, "squared_hinge": 0.04, "scaled_bound": 0.0}
STUDY = [name for name, entry in DATASETS.items() if entry.role == "study"]


def record(strategy, dataset, backbone="bottleneck", seed=0, phase="final", **metrics):
    """A finished cell, or with `error` a failed one; what is not given is made up, the same each
    time."""
    error = metrics.pop("error", None)
    rate = metrics.pop("learning_rate", 0.003)
    untrained = strategy in BASELINES
    noise = zlib.crc32(f"{strategy} {dataset} {backbone} {seed} {phase}".encode()) / 2**32
    free = strategy in ("unconstrained", "squared_hinge")
    made_up = {
        "mse": MSE.get(strategy, 0.28) * (1 if untrained else 0.9 + 0.2 * noise),
        "r2": 0.7 + noise / 10,
        "violation_rate": OUTSIDE.get(strategy, 0.0),
    }
    if not untrained:
        made_up |= {
            "gradient_dead_fraction": {"clip": 0.3, "relu_offset": 0.6}.get(strategy, 0.0),
            "blocked_fraction": {"clip": 0.05, "relu_offset": 0.2}.get(strategy, 0.0),
            "gradient_vanishing_fraction": 0.01,
            "code_reliance": 0.8 + noise / 10 if free else 0.001 * noise,
        }
    cell = Cell(
        dataset,
        "0",
        phase,
        strategy,
        UNTRAINED if untrained else backbone,
        0 if untrained else seed,
        model={} if untrained else {"hidden": 8, "dtype": "float32"},
        training={} if untrained else {"epochs": 2, "batch": 32, "learning_rate": rate},
        metric_version=1,
    )
    return Record(
        cell, "failed" if error else "done", {} if error else made_up | metrics, error=error
    )


def sweep(datasets, strategies=STRATEGIES, backbones=BACKBONES, seeds=5):
    """Final cells of every strategy, dataset, backbone and seed, each once."""
    found = [
        record(strategy, dataset, backbone, seed)
        for strategy in strategies
        for dataset in datasets
        for backbone in backbones
        for seed in range(seeds)
    ]
    return list({one.id: one for one in found}.values())


def manifest(datasets, **changes):
    plan = {"strategies": STRATEGIES, "datasets": datasets, "backbones": BACKBONES}
    return {
        "plan": {**plan, "seeds": 5, "tuning_seeds": 0, "hidden": 8},
        "datasets": {
            name: {
                "role": DATASETS[name].role,
                "group": DATASETS[name].group,
                "infeasible": 0.044 if DATASETS[name].role == "wrong_bound" else 0.0,
                "windows": {"train": 10, "validation": 2, "test": 3},
                "targets": [15, 24, 1],
                "bounds": ["upper"],
                "scale": 2.0,
                "unit": "1",
            }
            for name in datasets
        },
        "command": ["sweep.py", "--preset", "full"],
        "versions": {"python": "3.11.7"},
        "sessions": [{"command": ["sweep.py", "--preset", "full"], "started": "2026-01-01"}],
        **changes,
    }


def save(folder, records, described=None):
    """A sweep's folder, without arrays."""
    (folder / "cells").mkdir(parents=True)
    for one in records:
        (folder / "cells" / f"{one.id}.json").write_text(json.dumps(one.to_json()))
    if described is not None:
        store.write_json(folder / "manifest.json", described)
    return folder


def figure(path):
    """A picture of noise."""
    import matplotlib.image

    path.parent.mkdir(exist_ok=True)
    matplotlib.image.imsave(path, np.random.default_rng(0).random((40, 900)))
    return path
