"""The three words a Python user needs: a store (`Polymath`), what is learned into it, and the `Task` that answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .predicting import HEAD, Predictor, TaskRecord, bring, load_record, load_version, rollback, versions
from .spec import Json
from .store import Collected, Copied, Merged, Store, StoreError, rebuild, verify

if TYPE_CHECKING:
    from .experiments import Replayed, State
    from .growing import Union
    from .keeping import Gone
    from .learning import Listener, Refreshed
    from .problem import Problem
    from .serving import Serving

__all__ = ["Polymath", "StoreError", "Task", "rebuild", "verify"]


class Polymath:
    """A store in a folder or a bucket (`s3://bucket/prefix`): learn into it, get tasks out of it.

    >>> from polymath import Polymath                                          # doctest: +SKIP
    >>> task = Polymath("knowledge/").learn("houses.csv", target="price", budget="2m")   # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | Path = "knowledge",
        *,
        read_only: bool = False,
        create: bool = True,
        layers: Sequence[str] = (),
    ) -> None:
        """`create`: make a store where there is none. `layers`: your own in stored tasks, 'module:ClassName'."""
        bring(layers)
        self.store = Store.open(path, read_only=read_only, create=create)
        self._serving: Serving | None = None

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
        wish = Wishes.wished(budget, name=name or "", targets=targets, **wishes)
        record = learn(data, store=self.store, wishes=wish, listener=listener or Silent(), problem=problem)
        return Task(self.store, record)

    def task(self, name: str, *, version: int | None = None) -> Task:
        """A learned task by name, or an earlier version of it. Raises BadInput if there is none."""
        if version is not None:
            return Task(self.store, load_version(self.store, name, version))
        return Task(self.store, load_record(self.store, name))

    def rollback(self, name: str, *, to: int | None = None) -> int:
        """Puts an earlier version of a task in force (None: the one before) and returns its number. Raises BadInput."""
        return rollback(self.store, name, to)

    def tasks(self) -> list[Task]:
        """All tasks, by name."""
        names = sorted(head.removeprefix(HEAD) for head in self.store.heads(HEAD))
        return [self.task(name) for name in names]

    def absorb(
        self,
        data: Any,
        *,
        name: str | None = None,
        budget: str | float = "10m",
        listener: Listener | None = None,
        **wishes: Any,
    ) -> str:
        """Learns features from pictures, texts or a table without a target, for later tasks to build upon.

        Gives the name under which they stand in `Task.record.built_on` of tasks that use them. Of the wishes of
        `polymath.learning.Wishes` count types, ignore, seed and cache. Raises BadInput when there is nothing to learn.
        """
        from .learning import Silent, Wishes
        from .learning.absorb import absorb

        wish = Wishes.wished(budget, name=name or "", **wishes)
        return absorb(data, store=self.store, wishes=wish, listener=listener or Silent()).head

    def predict_many(self, requests: Sequence[tuple[str, Any]]) -> list[list[dict[str, Json]]]:
        """Answers of many tasks at once: for each (name of a task, data) a list like that of `Task.predict`.

        What tasks share is held once and computed once for all rows, which stay ready for the next call. Raises
        BadInput for a task that is not there and for data that cannot be read; a row that cannot be used says why.
        """
        from .evaluating import rows_of
        from .serving import Serving

        if self._serving is None:
            self._serving = Serving(self.store)
        serving = self._serving
        return serving.predict([(name, rows_of(data, serving.problem(name)).table) for name, data in requests])

    def union(self) -> Union:
        """The whole growing model: genes and paths of all tasks, read without their weights."""
        from .growing import union

        return union(self.store)

    def forget(self, name: str) -> Gone:
        """Removes a task, all its versions, and what only it used. Raises BadInput if there is none or it is learned.

        Its experiments stay in the ledger, from which later searches learn; they hold no rows. Their weights and
        predictions go. Layers that other tasks share stay.
        """
        from .keeping import forget

        return forget(self.store, name)

    def collect(self, *, old: bool = False) -> Collected:
        """Takes away what nobody needs. `old`: also the versions of tasks that newer ones took the place of."""
        from .keeping import collect

        return collect(self.store, old=old)

    def merge(self, other: str | Path) -> Merged:
        """Takes in all that another store knows. Nothing about that one is trusted; what is bad is left out."""
        from .keeping import merge

        return merge(self.store, other)

    def copy(self, name: str, other: str | Path) -> Copied:
        """Copies a task with all that it needs into another store, which is made if it is not there."""
        from .keeping import copy

        return copy(self.store, name, other)

    def backup(self, folder: str | Path) -> Copied:
        """Copies the store while others write; the copy is a store. Again: only what is new."""
        from .store import backup

        return backup(self.store, folder)

    def map(self, path: str | Path = "map.html") -> Path:
        """Draws the whole model, layers as boxes and tasks as coloured lines, as HTML or SVG; returns where it is."""
        from .explain import write_map

        return write_map(self.union(), path)

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()


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

    def predict(self, data: Any, **decoding: Any) -> list[dict[str, Json]]:
        """One dictionary per row: output name -> {value, ...}; {"error": why} for a row that cannot be used.

        `decoding`: how texts are looked for, as `polymath.model.decode.Decoding` has it: `beam=4, n_best=3`.
        """
        from .evaluating import rows_of

        how = self.predictor.decoding(decoding)
        table = rows_of(data, self.predictor.problem).table
        return [answer for chunk in self.predictor.predict(table, decoding=how) for answer in chunk]

    def stream(self, row: Mapping[str, Any], **decoding: Any) -> Iterator[str]:
        """The text written about one row (column -> value), as far as it is written, after each token."""
        import pyarrow as pa

        how = self.predictor.decoding({"beam": 1, **decoding})
        return self.predictor.stream(pa.table({name: [value] for name, value in row.items()}), decoding=how)

    def evaluate(self, data: Any) -> dict[str, Json]:
        """{task, rows, rows_unused, scores: {metric: value}} on rows that hold the truth."""
        from .evaluating import evaluate

        return evaluate(self.predictor, data)

    def refresh(
        self, data: Any, *, budget: str | float | None = None, listener: Listener | None = None, **wishes: Any
    ) -> Refreshed:
        """Learns this task further from new rows; says what became of it. This task is then the version in force.

        Published only if better, and not worse by more than noise on the old rows or on the new ones. Wishes: see
        `polymath.learning.Wishes`; those about the problem do not count, the task has its own. Raises BadInput.
        """
        from .learning import Silent, Wishes, refresh

        wish = Wishes.wished(budget, name=self.name, **wishes)
        self.record, found = refresh(data, store=self.store, wishes=wish, listener=listener or Silent())
        self._predictor = None
        return found

    def versions(self) -> list[dict[str, Json]]:
        """All versions learned to an end, the oldest first: number, source, rows, scores, which one is in force."""
        current, found = self.store.head(HEAD + self.name), []
        for number, address in versions(self.store, self.name).items():
            record = TaskRecord.model_validate(self.store.record(address))
            summary = record.summary
            source: Json = record.origin.get("source")
            found.append(
                {
                    "version": number,
                    "in_force": address == current,
                    "source": source,
                    "rows": summary.rows_used,
                    "validation": summary.validation,
                    "test": summary.test,
                    "digest": summary.result_digest,
                }
            )
        return found

    def leaderboard(self) -> list[dict[str, Json]]:
        """Every experiment, best first: what it was, its validation score, work, seconds, and why it failed if so."""
        from .experiments import leaderboard

        return leaderboard(self.store, self.record)

    def experiments(
        self, *, generator: str | None = None, state: State | None = None, best: int | None = None
    ) -> list[dict[str, Json]]:
        """Every experiment ever made for this task, in the order in which they began; or those asked for.

        `state`: 'finished', 'cut', 'running' or 'failed'. `best`: so many, best first. Scores: higher is better.
        """
        from .experiments import select, tried

        found = tried(self.store, self.name, self.record)
        return [one.row() for one in select(found, generator=generator, state=state, best=best)]

    def replay(self, number: int | str, *, cache: str | Path | None = None) -> Replayed:
        """Runs experiment `number` again and compares what comes out, rung by rung, bit for bit.

        `cache`: the folder of decoded data given to `learn`. Raises BadInput when the data are gone.
        """
        from .experiments import replay

        return replay(self.store, f"{self.name}/{number}", cache=_cache(cache))

    def picture(self, path: str | Path | None = None) -> Path:
        """Draws the search as an SVG file and returns where it is: score over work, and the best path."""
        from .experiments import entries
        from .explain import write_picture

        target = Path(path) if path else Path(f"{self.name}.svg")
        return write_picture(self.store, self.record, target, entries=entries(self.store, self.record))

    def report(self, path: str | Path | None = None, *, cache: str | Path | None = None) -> Path:
        """Writes one self-contained HTML page with pictures and returns where it is.

        `cache`: the folder of decoded data given to `learn`; mistakes are shown with their inputs if still there.
        """
        from .experiments import entries
        from .explain import write_report

        return write_report(
            self.store,
            self.record,
            Path(path) if path else Path(f"{self.name}.html"),
            entries=entries(self.store, self.record),
            cache=_cache(cache),
        )

    def __repr__(self) -> str:
        summary = self.record.summary
        return (
            f"<Task {self.name!r}: {summary.metric} {summary.test if summary.test is not None else summary.validation}>"
        )


def _cache(given: str | Path | None) -> Path:
    return Path(given) if given else Path.home() / ".cache" / "polymath"
