"""How a plan is run."""

from dataclasses import dataclass
from pathlib import Path

from experiments.saved import KINDS
from experiments.training import devices
from experiments.usage import UsageError, choose

STALE = {
    "refuse": "say which records are stale, and stop",
    "rerun": "set them aside and run their cells again",
    "keep": "mix them with new ones",
}


@dataclass(frozen=True)
class Options:
    """How a plan is run."""

    out: Path
    workers: int | None = None  # processes; None: this one
    dask: str | None = None  # a scheduler's address or file, or "local"
    minutes: float | None = None  # that the session may last
    timeout: float | None = None  # seconds that a batch may take
    retry_failed: bool = False
    force: bool = False
    fail_fast: bool = False
    allow_infeasible: bool = False
    stale: str = "refuse"  # one of STALE
    save: tuple[str, ...] = ()  # of saved.KINDS, of the final cells

    @property
    def patience(self) -> float | None:
        """Seconds that importing or tracing a strategy of the user's own may take."""
        limits = (self.timeout, self.minutes and 60 * self.minutes)
        return min((limit for limit in limits if limit), default=None)

    def __post_init__(self) -> None:
        choose("--stale", self.stale, STALE)
        if isinstance(self.save, str):
            raise UsageError(f"save must be a list of {', '.join(KINDS)}, got {self.save!r}.")
        for kind in self.save:
            choose("thing to --save", kind, dict.fromkeys(KINDS))
        if self.dask == "":
            raise UsageError("--dask is empty: give a scheduler's address or file, or local.")
        for flag in ("workers", "minutes", "timeout"):
            value = getattr(self, flag)
            if value is not None and not value > 0:
                raise UsageError(f"--{flag} must be positive, got {value:g}.")
        if self.workers and self.dask:
            raise UsageError("Give --workers or --dask, not both.")
        if self.workers:
            _check_workers(self.workers)


def _check_workers(count: int) -> None:
    """Refuse more processes than there are places for."""
    gpus, cores = devices.gpus(), devices.cores()
    if count > len(gpus or cores):
        kind = "GPUs" if gpus else "cores"
        raise UsageError(f"--workers {count} is more than the {len(gpus or cores)} {kind} here.")
