"""Live progress while a task is learned, on stderr: one line that moves in a terminal, a line per news elsewhere."""

from __future__ import annotations

import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from . import output, terminal
from .terminal import duration, number

if TYPE_CHECKING:
    from ..learning import Study, Wishes
    from ..problem import Dataset, Rows
    from ..problem.inference import Inference
    from ..search import Clock, Experiment

QUIET_SECONDS = 5.0
"""Without a terminal: at most one line in this time, except for a new best."""


class Progress:
    """A listener for `learning.learn` that talks to a person."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self._live = sys.stderr.isatty()
        self._best = -math.inf
        self._last = 0.0
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def say(self, text: str) -> None:
        self._clear()
        terminal.say(text)

    def inferred(self, inference: Inference, rows: Rows) -> None:
        output.inference(inference, rows)
        for note in rows.notes:
            self.say(f"note: {note}")

    def ready(self, dataset: Dataset, rows: Rows) -> None:
        training, test = int((dataset.folds >= 0).sum()), len(dataset.test)
        unused = rows.num_unused + sum(dataset.unused_counts.values())
        ports = ", ".join(f"{name} {form}" for name, form in dataset.problem.ports.items())
        self.say(
            f"{training:,} rows to learn from in {dataset.num_folds} folds, {test:,} for the test, {unused:,} not used; inputs: {ports}"
        )

    def tried(self, experiment: Experiment, study: Study, clock: Clock) -> None:
        result = experiment.results[-1]
        better = result.ok and result.score > self._best
        self._best = max(self._best, result.score)
        sign = 1.0 if study.greater_is_better else -1.0
        left = "" if math.isinf(clock.seconds_left) else f", {duration(clock.seconds_left)} left"
        best = number(sign * self._best) if math.isfinite(self._best) else "-"
        done = sum(len(e.results) for e in study.experiments.values())
        status = f"{len(study.experiments)} experiments, {done} rungs, {study.num_failed} failed, best {study.metric_name} {best}{left}"
        if better or not result.ok:
            word = (
                "best so far"
                if better
                else f"failed: {str(result.outcome.get('reason', '')).strip().splitlines()[-1:]}"
            )
            shown = number(sign * result.score) if result.ok else ""
            self.say(
                f"  #{experiment.number} {experiment.label} rung {len(experiment.results)}: {shown} {word} ({result.seconds:.1f} s)"
            )
        elif not self._live and time.monotonic() - self._last > QUIET_SECONDS:
            self._last = time.monotonic()
            self.say(f"  {status}")
        if self._live:
            text = f"  {status}"[:150]
            sys.stderr.write("\r" + text.ljust(self._width))
            sys.stderr.flush()
            self._width = len(text)

    def _clear(self) -> None:
        if self._live and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            self._width = 0
