"""One rung of one experiment as plain data: the job, where it runs, what came out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field, model_serializer

from ..model.path import Path
from ..model.probes import Facts, Probe
from ..spec import Spec
from .recipe import GradientRecipe, Recipe


class Job(Spec):
    """Everything that decides the result of a rung. Its digest is the key of the ledger."""

    dataset: str
    """Digest of the Dataset."""
    path: Path | None = None
    """What to train; None for probes that make their own."""
    starts: tuple[Path, ...] = ()
    """By fold what to train instead of `path`: the same layers, each with the weights that never saw its rows."""
    recipe: Recipe
    folds: tuple[int, ...] = Field(min_length=1)
    """Validate on each, training on all other rows that are not test rows."""
    work: float = Field(default=0.0, ge=0)
    """Total work of the experiment at the end of this rung, all folds together. Probes count theirs by formula."""
    rate: tuple[float, float] = (1.0, 0.0)
    """Learning rate at this rung's begin and end as a share of the recipe's, linear in the rung's progress in between.

    (1, 1) goes on at full rate and is judged by the moving average of the weights. A decay to 0 may span several rungs,
    (1, 0.5) then (0.5, 0), so that a kill during a long training costs one of them. (1, 0) in a first rung: one-cycle.
    """
    checkpoint: str | None = None
    """Address of the state to go on from."""
    seed: int = 0

    @model_serializer(mode="wrap")
    def _as_before(self, dump: Callable[[Job], dict[str, Any]]) -> dict[str, Any]:
        """Without `starts` where there are none: jobs of earlier releases keep their digests."""
        return {name: value for name, value in dump(self).items() if name != "starts" or value}


class Context(Spec):
    """Where a job runs; not part of its digest."""

    dataset_folder: str
    scratch: str
    """Folder of the store that checkpoints, weights and predictions go to."""
    device: str = "cpu"
    threads: int = Field(default=1, ge=1)
    memory_bytes: int | None = None
    seconds: float | None = None
    """Real time that this job may take; schedules end with it. None when work alone decides."""
    layers: tuple[str, ...] = ()
    """The user's own layers, as `model.layers.bring` takes them: a worker imports them before it reads the job."""


class Point(Spec):
    """One point of a learning curve."""

    work: float
    loss: float | None
    """Mean training loss since the last point."""
    score: float | None = None
    """Validation score, higher is better."""


class Outcome(Spec):
    """What came out of a job; `ok=False` with the reason when the experiment died."""

    ok: bool
    reason: str = ""
    score: float | None = None
    """Higher is better; None when it failed."""
    scores: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Output -> metric -> value over the validation rows of all folds."""
    work: float = 0.0
    """Work of the experiment so far, in giga multiply-adds, all folds together."""
    seconds: float = 0.0
    """Real time of this job. Not part of `result_digest`."""
    training_seconds: float = 0.0
    """Real time of the gradient steps alone, without opening, preparing and scoring. Not part of `result_digest`."""
    hurried: bool = False
    """The clock may have changed what came out: an early end, a rate lowered sooner. Not part of `result_digest`."""
    checkpoint: str | None = None
    """Address of the state from which the next rung goes on."""
    predictions: str | None = None
    """Address of the out-of-fold raw predictions: per output [N, W] under `output/NAME`, and `rows` [N], indices into
    the Dataset."""
    parameters: int = 0
    paths: tuple[Path, ...] = ()
    """One complete path with weight addresses per fold; empty for a probe that may not be published."""
    curve: tuple[Point, ...] = ()

    @property
    def results(self) -> set[str]:
        """Addresses of what it gave: predictions and weights, without the checkpoint."""
        weights = {address for path in self.paths for address in path.addresses}
        return weights | ({self.predictions} if self.predictions else set())

    @property
    def result_digest(self) -> str:
        """Digest of everything but real time: equal for equal jobs."""
        return self.replace(seconds=0.0, training_seconds=0.0, hurried=False).digest


def planned_work(job: Job, facts: Facts) -> float:
    """Work of the experiment at the end of this job, known before it runs."""
    if isinstance(job.recipe, GradientRecipe):
        return job.work
    return len(job.folds) * probe_work(job.recipe, job.path, facts)


def probe_work(probe: Probe, path: Path | None, facts: Facts) -> float:
    """Work of a probe on one fold; on a stored path with that of computing its features."""
    if path is None:
        return probe.work(facts)
    forms = path.forms(facts.ports)
    read = {gene: forms[gene] for gene in path.outputs.values()}
    shown = facts.rows * probe.copies
    return probe.work(facts.replace(ports=read, rows=shown)) + 1e-9 * shown * path.work(facts.ports) / facts.num_folds


__all__ = ["Context", "Facts", "Job", "Outcome", "Point", "planned_work", "probe_work"]
