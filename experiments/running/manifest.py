"""`manifest.json`: what a folder's records are of, and every session that made them."""

import os
import platform
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.datasets import SPLITS, Dataset
from experiments.running.fingerprints import ROOT, sources_hash
from experiments.running.plan import Layout
from experiments.running.presets import Plan

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
Manifest = dict[str, Any]


def begin(before: Manifest, plan: Plan, layout: Layout, where: str) -> Manifest:
    """The manifest of a session that begins, after what an earlier one left.

    The plan covers all that the folder's plans did; of the datasets, the newest description
    counts; the rest is of this session, and earlier ones stay listed under `sessions`.

    Args:
      before: the folder's manifest, or an empty one.
      plan: the session's own.
      layout: the plan's.
      where: where its cells run.
    """
    session = {
        "plan": asdict(plan),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "where": where,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "sources": sources_hash(),
        "revision": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--", ".", ":(exclude)results")),
        "host": platform.node(),
        "processor": _processor(),
        "devices": None,
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "started": _now(),
        "finished": None,
        "compile_seconds": 0.0,
        "train_seconds": 0.0,
    }
    described = {name: _describe(dataset) for name, dataset in layout.datasets.items()}
    return {
        **session,
        "plan": _union(before.get("plan"), asdict(plan)),
        "datasets": {**before.get("datasets", {}), **described},
        "sessions": [*before.get("sessions", []), session],
    }


def finish(manifest: Manifest, **found: Any) -> Manifest:
    """The manifest with what the present session found, and its end."""
    last = {**found, "finished": _now()}
    *earlier, present = manifest["sessions"]
    return {**manifest, **last, "sessions": [*earlier, {**present, **last}]}


def _union(before: dict[str, Any] | None, plan: dict[str, Any]) -> dict[str, Any]:
    if before is None:
        return plan
    together = {
        name: list(dict.fromkeys([*before.get(name, []), *plan[name]]))
        for name in ("strategies", "datasets", "backbones")
    }
    most = {name: max(before.get(name, 0), plan[name]) for name in ("seeds", "tuning_seeds")}
    return {**plan, **together, **most}


def _describe(dataset: Dataset) -> dict[str, Any]:
    return {
        "role": dataset.role,
        "group": dataset.group,
        "hash": dataset.hash,
        "scale": dataset.scale,
        "unit": dataset.unit,
        **({"title": dataset.title} if dataset.title else {}),
        **({"columns": dataset.columns} if dataset.columns else {}),
        "inputs": dataset.inputs.shape,
        "targets": dataset.targets.shape,
        "bounds": dataset.sides(),
        "infeasible": dataset.infeasible,
        "windows": dict(zip(SPLITS, np.bincount(dataset.split).tolist(), strict=True)),
    }


def _processor() -> str:
    """Its model where the system names it: numbers are the same to the bit on one kind alone."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git(*command: str) -> str | None:
    try:
        found = ["git", "--no-optional-locks", *command]  # which would write into .git
        result = subprocess.run(found, cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
