"""Live progress while a task is learned, on stderr: one line that moves in a terminal, a line per news elsewhere."""

from __future__ import annotations

import math
import shutil
import sys
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..spec import printable
from . import output, terminal
from .terminal import duration, number

if TYPE_CHECKING:
    from ..learning import Study, Wishes
    from ..problem import Dataset, Rows
    from ..problem.inference import Inference
    from ..search import Clock, Experiment

QUIET_SECONDS = 10.0
"""Without a terminal: at most one line in this time, except for a new best."""
TICK_SECONDS = 0.5
"""Between two drawings of the line that moves: the time left is seen to run while a long rung says nothing."""
LABEL_CHARACTERS = 48


class Progress:
    """A listener for `learning.learn` that talks to a person."""

    def __init__(self, wishes: Wishes) -> None:
        self.wishes = wishes
        self._live = sys.stderr.isatty()
        self._best = -math.inf
        self._last = time.monotonic()
        self._drawn = False
        self._reasons: set[str] = set()
        self._status = ""
        self._clock: Clock | None = None
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="polymath-progress", daemon=True)

    def __enter__(self) -> Self:
        if self._live:
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with self._turn:
            self._clear()

    def say(self, text: str) -> None:
        with self._turn:
            self._clear()
            terminal.say(text)

    def inferred(self, inference: Inference, rows: Rows) -> None:
        with self._turn:
            self._clear()
            output.inference(inference, rows)
        for note in rows.notes:
            self.say(f"note: {note}")

    def ready(self, dataset: Dataset, rows: Rows) -> None:
        training, test = int((dataset.folds >= 0).sum()), len(dataset.test)
        unused = rows.num_unused + sum(dataset.unused_counts.values())
        ports = ", ".join(f"{name} {form}" for name, form in dataset.problem.ports.items())
        self.say(
            f"{training:,} rows to learn from, {test:,} for the test, {unused:,} not used; {dataset.num_folds} folds.\n"
            f"Inputs as the layers see them: {ports}\n"
        )
        self._status = "the first experiments are running"

    def tried(self, experiment: Experiment, study: Study, clock: Clock) -> None:
        result = experiment.results[-1]
        sign = 1.0 if study.greater_is_better else -1.0
        label = printable(experiment.label, limit=LABEL_CHARACTERS)
        better = result.ok and result.score > self._best
        if better:
            self._best = result.score
            self.say(f"  {study.metric_name} {number(sign * result.score)}  #{experiment.number} {label}")
        elif not result.ok:
            self._failed(experiment.number, label, str(result.outcome.get("reason", "")))
        failed = f", {study.num_failed} failed" if study.num_failed else ""
        best = f", best {study.metric_name} {number(sign * self._best)}" if math.isfinite(self._best) else ""
        self._clock = clock
        self._status = f"{len(study.experiments)} experiments{failed}{best}"
        if not self._live and not better and time.monotonic() - self._last > QUIET_SECONDS:
            self.say(f"  {self._line()}")
            self._last = time.monotonic()

    def _failed(self, number: int, label: str, reason: str) -> None:
        """Says why, once for each reason; the count goes on in the line that moves."""
        last = (reason.strip().splitlines() or ["no reason was given"])[-1]
        if last not in self._reasons:
            self._reasons.add(last)
            self.say(f"  #{number} {label} failed: {printable(last, limit=200)} (said once; learning goes on)")

    def _line(self) -> str:
        """What stands in the line that moves."""
        clock = self._clock
        if clock is None:
            return self._status
        if clock.by_work:
            return f"{min(clock.share_spent, 1.0):.0%} of the work given out, {self._status}"
        if clock.seconds_left <= 0:
            return f"{self._status}; combining and testing"
        return f"{duration(clock.seconds_left)} left, {self._status}"

    def _tick(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            with self._turn:
                if self._status and not self._over.is_set():
                    width = shutil.get_terminal_size().columns - 1
                    sys.stderr.write("\r" + printable(f"  {self._line()}", limit=width).ljust(width))
                    sys.stderr.flush()
                    self._drawn = True

    def _clear(self) -> None:
        if self._drawn:
            sys.stderr.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._drawn = False
