"""A cell, one training run, and its record: what identifies, places and names them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

from experiments.shapes import PHASES, RECORD, misfit

METRIC_VERSION = 2  # raised when a metric's meaning changes
SPLIT_OF_PHASE = dict(zip(PHASES, ("validation", "test"), strict=True))
UNTRAINED = "none"  # the backbone of a baseline
Json = dict[str, Any]
Place = tuple[str, str, str]  # strategy, dataset and backbone: what is tuned by itself


@dataclass(frozen=True)
class Cell:
    """One training run: strategy × dataset × backbone × seed × settings."""

    dataset: str
    data_hash: str  # of the dataset's arrays
    phase: str  # "tune" or "final"
    strategy: str
    backbone: str  # see `network`; UNTRAINED for a baseline
    seed: int
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, str | None] = field(default_factory=dict)  # where each side comes from
    model: Mapping[str, Any] = field(default_factory=dict)  # the settings of the network
    training: Mapping[str, Any] = field(default_factory=dict)  # those of training, and its rate
    metric_version: int = METRIC_VERSION
    source: str | None = None  # of the user's strategy, before programs had fingerprints

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Self:
        """The cell of a record's `config`.

        Raises:
          ValueError, TypeError, KeyError: if that is no cell's.
        """
        dataset, strategy = config["dataset"], config["strategy"]
        return cls(
            dataset=dataset["name"],
            data_hash=dataset["hash"],
            phase=config["phase"],
            strategy=strategy["name"],
            backbone=config["backbone"],
            seed=config["seed"],
            hyperparameters=strategy["hyperparameters"],
            bounds=strategy["bounds"],
            model=config["model"],
            training=config["training"],
            metric_version=config["metric_version"],
            source=strategy.get("hash"),
        )

    def to_json(self) -> Json:
        return {
            "dataset": {"name": self.dataset, "hash": self.data_hash},
            "phase": self.phase,
            "metric_version": self.metric_version,
            "strategy": {
                "name": self.strategy,
                "hyperparameters": dict(self.hyperparameters),
                "bounds": dict(self.bounds),
                **({"hash": self.source} if self.source else {}),
            },
            "backbone": self.backbone,
            "seed": self.seed,
            "model": dict(self.model),
            "training": dict(self.training),
        }

    @cached_property
    def id(self) -> str:
        """SHA-256 of its canonical JSON: the same on any machine."""
        return hashlib.sha256(canonical(self.to_json()).encode()).hexdigest()

    @property
    def is_trained(self) -> bool:
        return self.backbone != UNTRAINED

    @property
    def network(self) -> str:
        """One of training.backbones: its backbone without the size, which that ends in where
        a plan has several sizes."""
        return self.backbone.removesuffix(sized("", self.model.get("hidden", "")))

    @property
    def split(self) -> str:
        """Where its metrics are taken."""
        return SPLIT_OF_PHASE[self.phase]

    @property
    def place(self) -> Place:
        return self.strategy, self.dataset, self.backbone

    @property
    def seat(self) -> tuple[Place, str, int]:
        """What it is of, whatever version of the code, the data and the settings."""
        return self.place, self.phase, self.seed

    @property
    def tuned(self) -> dict[str, float]:
        """Its hyperparameters, with the learning rate where it is trained."""
        rate = {key: self.training[key] for key in ("learning_rate",) if key in self.training}
        return {**self.hyperparameters, **rate}

    @property
    def settings(self) -> Json:
        """What it has in common with the other cells of its plan."""
        found = {**self.model, **self.training}
        return {name: value for name, value in found.items() if name != "learning_rate"}

    @property
    def epochs(self) -> int:
        return self.training.get("epochs", 0)

    def __str__(self) -> str:
        return f"{self.dataset} {self.backbone} {self.strategy} seed {self.seed}"


@dataclass(frozen=True)
class Record:
    """A cell and what came of it."""

    cell: Cell
    status: str = "done"  # or "failed"
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    error: str | None = None  # why it failed
    fingerprint: Mapping[str, Any] | None = None  # of what made it; see running.fingerprints
    sources: str | None = None  # a hash of source files, before programs had fingerprints

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """The record of what `to_json` gives, whoever wrote it.

        Raises:
          ValueError, TypeError, KeyError: if that is no record's.
        """
        if odd := misfit(found, RECORD):
            raise ValueError(f"{odd} is not what a record has there")
        rest = {key: value for key, value in found.items() if key not in ("id", "config")}
        return cls(Cell.from_json(found["config"]), **rest)

    def to_json(self) -> Json:
        found = {
            "id": self.id,
            "status": self.status,
            "config": self.cell.to_json(),
            "metrics": dict(self.metrics),
            "timing": dict(self.timing),
            "error": self.error,
        }
        extra = {"fingerprint": self.fingerprint, "sources": self.sources}
        return found | {key: value for key, value in extra.items() if value is not None}

    @property
    def id(self) -> str:
        return self.cell.id

    @property
    def is_done(self) -> bool:
        return self.status == "done"


def random_seed(cell: Cell) -> int:
    """Of a cell's random numbers, below 2**32: all strategies begin alike on one dataset with one
    backbone, and no two datasets do."""
    of = canonical([cell.dataset, cell.backbone, cell.seed])
    return int.from_bytes(hashlib.sha256(of.encode()).digest()[:4])


def sized(backbone: str, hidden: int) -> str:
    """A backbone's name among others of other sizes."""
    return f"{backbone}_{hidden}"


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces; NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
