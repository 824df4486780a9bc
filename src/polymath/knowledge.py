"""The three words a Python user needs: a store (`Polymath`), what is learned into it, and the `Task` that answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .predicting import HEAD, Predictor, TaskRecord, load_record
from .spec import BadInput, Json
from .store import Store, StoreError, rebuild, verify

if TYPE_CHECKING:
    from .learning import Listener
    from .problem import Problem

__all__ = ["Polymath", "StoreError", "Task", "num_bytes", "rebuild", "seconds", "verify"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {
    "": 1,
    "K": 1000,
    "M": 1000**2,
    "G": 1000**3,
    "T": 1000**4,
    "KI": 2**10,
    "MI": 2**20,
    "GI": 2**30,
    "TI": 2**40,
}


def seconds(text: str | float) -> float:
    """'90s', '10m', '2h', '1h30m' or a number of seconds. Raises BadInput."""
    if isinstance(text, (int, float)) or re.fullmatch(r"\d+(\.\d+)?", text.strip()):
        value = float(text)
    else:
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
        if not parts or "".join(n + u for n, u in parts) != re.sub(r"\s+", "", text.strip().lower()):
            raise BadInput("is not a time", value=text, remedy="Give for example 60s, 10m or 2h.")
        value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < value < 1e9:
        raise BadInput("a budget must be longer than nothing", value=text, remedy="Give for example 60s, 10m or 2h.")
    return value


def num_bytes(text: str | int) -> int:
    """'4GB', '500MiB' or a number of bytes. Raises BadInput."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", str(text).upper())
    if match is None or float(match[1]) <= 0:
        raise BadInput("is not an amount of memory", value=text, remedy="Give for example 4GB or 500MB.")
    return int(float(match[1]) * _SIZES[match[2]])


class Polymath:
    """A store on disk: learn into it, get tasks out of it.

    >>> from polymath import Polymath                                          # doctest: +SKIP
    >>> task = Polymath("knowledge/").learn("houses.csv", target="price", budget="2m")   # doctest: +SKIP
    """

    def __init__(self, path: str | Path = "knowledge", *, read_only: bool = False) -> None:
        self.store = Store.open(path, read_only=read_only)

    def learn(
        self,
        data: Any,
        *,
        target: str | Sequence[str] | None = None,
        name: str | None = None,
        budget: str | float | None = None,
        problem: Problem | None = None,
        listener: Listener | None = None,
        **wishes: Any,
    ) -> Task:
        """Learns a task from a file, a folder, a table or arrays; returns it when the budget is spent.

        `target`: the column or columns to predict. `budget`: '60s', '10m', '2h' (default 10 minutes), or give `work`,
        a number of work units, for a result that does not depend on the clock. `problem`: what to learn, instead of
        finding it out.
        Other wishes: see `polymath.learning.Wishes`.
        The same call again goes on where it stopped. Raises BadInput when the data cannot be used.
        """
        from .learning import Silent, Wishes, learn

        targets = (target,) if isinstance(target, str) else tuple(target or ())
        memory = wishes.pop("memory", None)
        wish = Wishes(
            name=name or "",
            targets=targets,
            budget_seconds=None if budget is None else seconds(budget),
            memory_bytes=None if memory is None else num_bytes(memory),
            **wishes,
        )
        record = learn(data, store=self.store, wishes=wish, listener=listener or Silent(), problem=problem)
        return Task(self.store, record)

    def task(self, name: str) -> Task:
        """A learned task by name. Raises BadInput if there is none."""
        return Task(self.store, load_record(self.store, name))

    def tasks(self) -> list[Task]:
        """All tasks, by name."""
        names = sorted(head.removeprefix(HEAD) for head in self.store.heads(HEAD))
        return [self.task(name) for name in names]

    def close(self) -> None:
        self.store.close()


class Task:
    """A learned problem: its record in the store, and answers for new rows."""

    def __init__(self, store: Store, record: TaskRecord) -> None:
        self.store, self.record = store, record
        self._predictor: Predictor | None = None

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def predictor(self) -> Predictor:
        if self._predictor is None:
            self._predictor = Predictor(self.record, self.store)
        return self._predictor

    def predict(self, data: Any) -> list[dict[str, Json]]:
        """One dictionary per row: output name -> {value, ...}; {"error": why} for a row that cannot be used."""
        from .evaluating import rows_of

        table = rows_of(data, self.predictor.problem).table
        return [answer for chunk in self.predictor.predict(table) for answer in chunk]

    def evaluate(self, data: Any) -> dict[str, Json]:
        """{task, rows, rows_unused, scores: {metric: value}} on rows that hold the truth."""
        from .evaluating import evaluate

        return evaluate(self.predictor, data)

    def leaderboard(self) -> list[dict[str, Json]]:
        """Every experiment, best first: what it was, its validation score, work, seconds, and why it failed if so."""
        from .evaluating import leaderboard

        return leaderboard(self.store, self.record)

    def report(self, path: str | Path | None = None, *, cache: str | Path | None = None) -> Path:
        """Writes one self-contained HTML page with pictures and returns where it is.

        `cache`: the folder of decoded data given to `learn`; mistakes are shown with their inputs if still there.
        """
        from .evaluating import entries
        from .explain import write_report

        return write_report(
            self.store,
            self.record,
            Path(path) if path else Path(f"{self.name}.html"),
            entries=entries(self.store, self.record),
            cache=Path(cache) if cache else Path.home() / ".cache" / "polymath",
        )

    def __repr__(self) -> str:
        summary = self.record.summary
        return (
            f"<Task {self.name!r}: {summary.metric} {summary.test if summary.test is not None else summary.validation}>"
        )
